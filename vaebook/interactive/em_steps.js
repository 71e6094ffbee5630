// Steps of EM on points of the plane, for two Gaussians: the reader drags their means, and takes
// E- and M-steps. The bound belongs to the responsibilities of the last E-step; the log-likelihood
// to the Gaussians alone. Between the two lies a KL divergence.

const { Plot, clamp, colour, figure, format, linspace, logSumExp, nats, word } = vaebookLive;

/** Log-density of each point together with each component: rows of K numbers. */
export function logJoint(points, { weights, means, covariances }) {
  const parts = weights.map((weight, k) => {
    const [[a, b], [, c]] = covariances[k], area = a * c - b * b;
    return { mean: means[k], a, b, c, area,
      constant: Math.log(weight) - Math.log(2 * Math.PI) - Math.log(area) / 2 };
  });
  return points.map(([x, y]) => parts.map(({ mean, a, b, c, area, constant }) => {
    const u = x - mean[0], v = y - mean[1];
    return constant - (c * u * u - 2 * b * u * v + a * v * v) / (2 * area);
  }));
}

/** Log-likelihood of all points, in nats. */
export const logLikelihood = (points, mixture) =>
  logJoint(points, mixture).reduce((sum, row) => sum + logSumExp(row), 0);

/** Responsibilities: the E-step. */
export function eStep(points, mixture) {
  return logJoint(points, mixture).map((row) => {
    const all = logSumExp(row);
    return row.map((value) => Math.exp(value - all));
  });
}

/** The bound for responsibilities q, in nats. */
export const bound = (points, mixture, q) =>
  logJoint(points, mixture).reduce((sum, row, n) =>
    sum + row.reduce((s, value, k) =>
      s + (q[n][k] > 0 ? q[n][k] * (value - Math.log(q[n][k])) : 0), 0), 0);

/** Weights, means and covariances that are best for responsibilities q: the M-step. */
export function mStep(points, q) {
  const fits = q[0].map((_, k) => {
    const average = (f) => points.reduce((sum, x, n) => sum + q[n][k] * f(x), 0) / size;
    const size = q.reduce((sum, row) => sum + row[k], 0);
    const mean = [average(([x]) => x), average(([, y]) => y)];
    const [a, b, c] = [[0, 0], [0, 1], [1, 1]].map(([i, j]) =>
      average((x) => (x[i] - mean[i]) * (x[j] - mean[j])));
    return { weight: size / points.length, mean, covariance: [[a, b], [b, c]] };
  });
  return {
    weights: fits.map(({ weight }) => weight),
    means: fits.map(({ mean }) => mean),
    covariances: fits.map(({ covariance }) => covariance),
  };
}

/** The component is moved onto its nearest point, or, if it is there, made half as wide. */
export function spike({ points, means, covariances }, k) {
  const away = ([x, y]) => Math.hypot((x - means[k][0]) / 1.1, (y - means[k][1]) / 13.6);
  const nearest = points.reduce((best, x) => (away(x) < away(best) ? x : best));
  const put = (list, value) => list.map((entry, i) => (i === k ? value : entry));
  if (away(nearest) > 1e-9)
    return { means: put(means, nearest), covariances: put(covariances, [[0.04, 0], [0, 6]]) };
  return { covariances: put(covariances, covariances[k].map((row) => row.map((v) => v / 4))) };
}

const HUES = [colour.blue, colour.vermilion], NAMES = [word("blue"), word("red")];
const view = ({ points, weights, means, covariances, q }) => {
  const mixture = { weights, means, covariances };
  return { likelihood: logLikelihood(points, mixture), bound: bound(points, mixture, q) };
};

// What was reached before is kept for the second panel; who drags a mean begins anew.
const grown = ({ history }, now) => [...history, [now.likelihood, now.bound]].slice(-40);
const isFlat = ([[a, b], [, c]]) => !(a * c - b * b > 1e-11);

const takeE = (state, now) => {
  const { points, weights, means, covariances } = state;
  return { q: eStep(points, { weights, means, covariances }), next: "M",
    history: grown(state, now), refused: false };
};
const takeM = (state, now) => {
  const fit = mStep(state.points, state.q);
  if (fit.covariances.some(isFlat)) return { refused: true };
  return { ...fit, next: "E", history: grown(state, now), refused: false };
};

/** Points of the ellipse of two standard deviations. */
function ellipse([mx, my], [[a, b], [, c]]) {
  const root = Math.sqrt(a), other = Math.sqrt(c - (b * b) / a);
  return linspace(0, 2 * Math.PI, 61).map((turn) => {
    const u = 2 * Math.cos(turn), v = 2 * Math.sin(turn);
    return [mx + root * u, my + (b / root) * u + other * v];
  });
}

const at = { x: "0", y: "1", clip: true };
const X = [0.5, 6], Y = [30, 120];
// A datum is blue, and red over it by its responsibility: one after the other, so that no dot
// beside it shows through.
const coloured = (points, q) => points.flatMap(([x, y], n) => [[x, y, 0, 1], [x, y, 1, q[n][1]]]);
const plane = {
  height: (width) => Math.min(width, 380),
  title: "Eruptions of Old Faithful",
  plot: ({ points, means, covariances, q }) => ({
    x: { domain: X, label: "eruption, minutes", ticks: 5 },
    y: { domain: Y, label: "wait for the next, minutes", ticks: 6 },
    marks: [
      Plot.frame({ stroke: colour.rule }),
      Plot.dot(coloured(points, q), { ...at, r: 2.6,
        fill: { value: ([, , k]) => HUES[k], scale: null },
        fillOpacity: { value: ([, , , share]) => share, scale: null } }),
      ...means.map((mean, k) => Plot.line(ellipse(mean, covariances[k]),
        { ...at, stroke: HUES[k], strokeWidth: 2, strokeDasharray: k ? "7 3" : "none" })),
    ],
  }),
  label: ({ points, means, q }) =>
    `${points.length} eruptions; ${q.filter((row) => row[1] > 0.5).length} of them rather red. ` +
    means.map(([x, y], k) => `The ${NAMES[k]} ellipse is centred at ${format(x)} and ` +
      `${format(y, 1)} minutes`).join(word(". ")) + word("."),
  handles: [0, 1].map((k) => ({
    label: `Mean of the ${NAMES[k]} Gaussian`,
    colour: HUES[k],
    x: ({ means }) => means[k][0],
    y: ({ means }) => means[k][1],
    move: ({ means }, x, y) => ({ history: [], refused: false, next: "E",
      means: means.map((mean, i) => (i === k ? [clamp(x, X), clamp(y, Y)] : mean)) }),
  })),
};

const climb = {
  height: 240,
  title: "Log-likelihood and bound, step by step",
  legend: [["log-likelihood", colour.ink], ["bound", colour.teal, "6 3"]],
  plot: ({ history }, now) => {
    const all = [...history, [now.likelihood, now.bound]];
    const from = Math.max(0, all.length - 7), rows = all.slice(from); // older ones hide the gap
    const nats = rows.flat(), low = Math.min(...nats), high = Math.max(...nats);
    const room = 0.08 * (high - low) + 1;
    const curve = (i, stroke, dashes, symbol) => {
      const options = { x: (_, n) => from + n, y: (row) => row[i] };
      return [
        Plot.line(rows, { ...options, stroke, strokeWidth: 2, strokeDasharray: dashes }),
        Plot.dot(rows, { ...options, fill: stroke, symbol, r: 4 }),
      ];
    };
    return {
      marginLeft: 58,
      x: { domain: [from, from + 6], label: "half-steps taken", ticks: 6 },
      y: { domain: [low - room, high + room], label: "nats", ticks: 5 },
      marks: [Plot.frame({ stroke: colour.rule }), ...curve(0, colour.ink, "none", "circle"),
        ...curve(1, colour.teal, "6 3", "square")],
    };
  },
  label: ({ history }, { likelihood, bound: below }) =>
    `After ${history.length} half-steps the log-likelihood is ${format(likelihood, 1)} nats ` +
    `and the bound ${format(below, 1)}.`,
};

export default figure({
  view,
  panels: [plane, climb],
  controls: [
    { button: "E-step: guess the colours", press: takeE },
    { button: "M-step: fit the Gaussians", press: takeM },
    { play: "Run EM", every: 250, step: "",
      advance: (state, now) => {
        if (state.next === "M") return takeM(state, now).refused ? null : takeM(state, now);
        return now.likelihood - now.bound > 1e-6 ? takeE(state, now) : null;
      } },
    { button: "Shrink red onto a datum",
      press: (state, now) => isFlat(state.covariances[1].map((row) => row.map((v) => v / 4)))
        ? null : { ...spike(state, 1), next: "E", history: grown(state, now), refused: false } },
  ],
  numbers: (_, now) => [
    ["log-likelihood of the Gaussians", nats(now.likelihood, 2)],
    ["bound, for the colours as they are", nats(now.bound, 2)],
    ["gap: KL divergence of the colours from their posterior", nats(now.likelihood - now.bound, 2)],
  ],
  describe: ({ refused, covariances }) => {
    if (refused) return "The M-step has no answer: a component that holds one datum has variance 0.";
    const width = Math.sqrt(Math.min(...covariances.map(([[a]]) => a)));
    return `The narrower Gaussian has a standard deviation of ${format(width, 4)} minutes ` +
      "along the eruption.";
  },
});
