// A Gaussian over data: the reader moves its mean and its standard deviation, on the curve or on
// the plane of the two. What it lacks of the best fit is a KL divergence.

const { Plot, clamp, colour, figure, format, linspace, logNormal, nats, normal, once } = vaebookLive;

const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean and standard deviation of maximum likelihood. */
export function best(data) {
  const mean = average(data);
  return { mean, std: Math.sqrt(average(data.map((x) => (x - mean) ** 2))) };
}

/** Mean log-density of the data, in nats. */
export const logLikelihood = (data, { mean, std }) =>
  average(data.map((x) => logNormal(x, mean, std)));

/** KL divergence from one Gaussian to another, in nats. */
export const kl = (from, to) =>
  Math.log(to.std / from.std) + (from.std ** 2 + (from.mean - to.mean) ** 2) / (2 * to.std ** 2) - 0.5;

/** Gradient of the mean log-likelihood with respect to the mean and to the log of the std. */
export function gradient(data, { mean, std }) {
  const squared = average(data.map((x) => (x - mean) ** 2));
  return { mean: (average(data) - mean) / std ** 2, logStd: squared / std ** 2 - 1 };
}

const bestOf = once(best);

function view({ data, mean, std }) {
  const fit = bestOf(data), now = { mean, std };
  return { fit, now: logLikelihood(data, now), most: logLikelihood(data, fit), gap: kl(fit, now) };
}

const AROUND = 3.5; // standard deviations of the data on either side of their mean
const LEAST = 0.5, WIDEST = 3; // of the best standard deviation
const means = ({ mean, std }) => [mean - AROUND * std, mean + AROUND * std];
const stds = ({ std }) => [LEAST * std, WIDEST * std];
const PEAK = 1 / Math.sqrt(2 * Math.PI);

const move = ({ data }, mean, std) => {
  const fit = bestOf(data);
  return { mean: clamp(mean, means(fit)), std: clamp(std, stds(fit)) };
};
const text = ({ mean, std }) => `μ ${format(mean)}, σ ${format(std)}`;

// Data that occur more than once stand above each other.
const stack = once((data) => {
  const seen = new Map();
  return data.map((x) => {
    seen.set(x, (seen.get(x) ?? 0) + 1);
    return { x, times: seen.get(x) };
  });
});

const curve = {
  title: "The data, and your Gaussian",
  height: 270,
  legend: [["best fit", colour.slate, "2 3", 1.6], ["yours", colour.vermilion]],
  plot: ({ data, mean, std, unit }, { fit }) => {
    const domain = means(fit), grid = linspace(...domain, 181), top = (1.1 * PEAK) / (LEAST * fit.std);
    const bell = (parameters, options) => Plot.line(grid, {
      x: (x) => x, y: (x) => normal(x, parameters.mean, parameters.std), clip: true, ...options,
    });
    return {
      x: { domain, label: unit },
      y: { domain: [0, top], label: "density" },
      marks: [
        Plot.dot(stack(data), { x: "x", y: ({ times }) => (times - 0.5) * 0.03 * top, r: 3,
          fill: colour.blue }),
        Plot.ruleY([0]),
        bell(fit, { stroke: colour.slate, strokeWidth: 1.6, strokeDasharray: "2 3" }),
        bell({ mean, std }, { stroke: colour.vermilion, strokeWidth: 2.2 }),
      ],
    };
  },
  label: ({ mean, std, data }, { fit }) =>
    `${data.length} data, and a bell with mean ${format(mean)} and standard deviation ` +
    `${format(std)}; the best has ${format(fit.mean)} and ${format(fit.std)}.`,
  handles: [{
    label: "Summit of the bell: its mean and, by its height, its standard deviation",
    x: ({ mean }) => mean,
    y: ({ std }) => PEAK / std,
    move: (state, mean, height) => move(state, mean, PEAK / Math.max(height, 1e-9)),
    text,
  }],
};

const LEVELS = [0.02, 0.1, 0.3, 0.6, 1, 2, 4];

const plane = {
  title: "What each Gaussian lacks, in nats",
  height: 290,
  depends: ["data", "trail"],
  plot: ({ trail }, { fit }) => ({
    x: { domain: means(fit), label: "μ" },
    y: { domain: stds(fit), label: "σ" },
    color: { type: "threshold", domain: LEVELS, range: LEVELS.concat(0).map(() => colour.slate) },
    marks: [
      Plot.contour({
        fill: (mean, std) => kl(fit, { mean, std }), thresholds: LEVELS, pixelSize: 4,
        x1: means(fit)[0], x2: means(fit)[1], y1: stds(fit)[0], y2: stds(fit)[1],
        stroke: colour.slate, fillOpacity: 0.11,
      }),
      Plot.line(trail, { stroke: colour.vermilion, strokeWidth: 2 }),
      Plot.dot([fit], { x: "mean", y: "std", symbol: "cross", r: 4, fill: colour.ink }),
      Plot.text([fit], { x: "mean", y: "std", dy: 14, text: () => "best fit", stroke: colour.paper,
        fill: colour.ink }),
      Plot.text(LEVELS, { x: (level) => placeOf(fit, level).mean,
        y: (level) => placeOf(fit, level).std, text: String, stroke: colour.paper,
        fill: colour.ink }),
    ],
  }),
  label: ({ mean, std }, { gap }) =>
    `Lines of equal loss over mean and standard deviation, around the best fit. Your Gaussian, ` +
    `${text({ mean, std })}, lacks ${format(gap, 3)} nats.`,
  handles: [{
    label: "Mean and standard deviation of your Gaussian",
    x: ({ mean }) => mean, y: ({ std }) => std, move, text,
  }],
};

/** The standard deviation above the best one whose Gaussian lacks so many nats. */
function above(fit, level) {
  let [low, high] = [fit.std, 200 * fit.std];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (kl(fit, { mean: fit.mean, std: middle }) < level) low = middle;
    else high = middle;
  }
  return low;
}

/** Where a line is labelled: above the best fit, or beside it if it leaves the plane there. */
function placeOf(fit, level) {
  const std = above(fit, level);
  if (std < stds(fit)[1]) return { mean: fit.mean, std };
  return { mean: fit.mean + Math.sqrt(2 * level) * fit.std, std: fit.std };
}

/** One step of gradient ascent; null where nothing is left to gain. */
export function climb({ data, mean, std, trail }) {
  const up = gradient(data, { mean, std }), fit = bestOf(data);
  if (kl(fit, { mean, std }) < 1e-5) return null;
  const rate = 0.1; // relative to σ, in which both steps are measured
  const next = {
    mean: mean + rate * std ** 2 * up.mean,
    std: std * Math.exp(clamp(rate * up.logStd, [-0.1, 0.1])),
  };
  const from = trail.length ? trail : [[mean, std]];
  return { ...next, trail: [...from, [next.mean, next.std]] };
}

export default figure({
  view,
  panels: [curve, plane],
  controls: ({ data }) => {
    const fit = best(data);
    const [[first, last], [least, widest]] = [means(fit), stds(fit)];
    return [
      { slider: "mean", label: "mean μ", min: first, max: last },
      { slider: "std", label: "standard deviation σ", min: least, max: widest },
      { play: "Climb", advance: climb, every: 60 },
    ];
  },
  numbers: (_, { now, most, gap }) => [
    ["mean log-likelihood of your Gaussian", nats(now)],
    ["of the best one", nats(most)],
    ["what yours lacks: the difference", nats(most - now)],
    ["KL(best ‖ yours)", nats(gap)],
  ],
});
