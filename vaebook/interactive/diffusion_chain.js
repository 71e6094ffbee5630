// Diffusion chain: a cloud at every step of the noising chain, the score there, and the way of
// DDIM from a start that the reader moves. The data are a mixture of Gaussians in the plane, for
// which the best guess of the noise has a closed form: nothing is learned, nothing approximated.

const { Plot, clamp, colour, figure, format, latest, linspace, once,
  random } = vaebookLive;

/** Shares of the signal after 0, 1, ..., T steps. */
export const signalShares = (betas) =>
  betas.reduce((kept, beta) => [...kept, kept.at(-1) * (1 - beta)], [1]);

/** Gradient of the log-density of the data when a share `kept` of the signal is left. */
export function score({ weights, means, covariances }, kept, [x, y]) {
  const root = Math.sqrt(kept), rest = 1 - kept;
  let most = -Infinity, total = 0, across = 0, up = 0; // sums of weights relative to the largest
  for (let k = 0; k < weights.length; k++) {
    const a = kept * covariances[k][0][0] + rest, b = kept * covariances[k][0][1];
    const c = kept * covariances[k][1][1] + rest, area = a * c - b * b;
    const u = x - root * means[k][0], v = y - root * means[k][1];
    const p = (c * u - b * v) / area, q = (a * v - b * u) / area;
    const log = Math.log(weights[k]) - Math.log(area) / 2 - (u * p + v * q) / 2;
    if (log > most) {
      const shrink = Math.exp(most - log);
      total *= shrink, across *= shrink, up *= shrink, most = log;
    }
    const weight = Math.exp(log - most);
    total += weight, across -= weight * p, up -= weight * q;
  }
  return [across / total, up / total];
}

/** One stride from a share `kept` of the signal to a larger one, with `fresh` noise if eta > 0. */
export function stride(mixture, kept, later, x, eta = 0, fresh = [0, 0]) {
  const slopes = score(mixture, kept, x), blur = Math.sqrt(1 - kept);
  const added = eta ** 2 * ((1 - later) / (1 - kept)) * (1 - kept / later);
  const move = (value, slope, extra) => {
    const noise = -blur * slope, datum = (value - blur * noise) / Math.sqrt(kept);
    return Math.sqrt(later) * datum + Math.sqrt(1 - later - added) * noise +
      Math.sqrt(added) * extra;
  };
  return [move(x[0], slopes[0], fresh[0]), move(x[1], slopes[1], fresh[1])];
}

/** Rounded to the nearest whole number, halves to the even one. */
const rounded = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** The steps at which `calls` strides stop: from T, evenly, to 1, and then the datum, 0. */
export const stops = (T, calls) =>
  [...(calls === 1 ? [T] : linspace(T, 1, calls).map(rounded)), 0];

/** The points at which the strides stop, from the start on. */
export function path(mixture, kept, { calls, eta }, start, generator) {
  const steps = stops(kept.length - 1, calls), points = [start];
  for (let i = 0; i < calls; i++) {
    const fresh = eta > 0 ? [generator.gaussian(), generator.gaussian()] : [0, 0];
    points.push(stride(mixture, kept[steps[i]], kept[steps[i + 1]], points[i], eta, fresh));
  }
  return points;
}

/** Share of points within two standard deviations of the nearest component. */
export function shareInside({ means, covariances }, points) {
  const inside = ([x, y]) => means.some(([mx, my], k) => {
    const [[a, b], [, c]] = covariances[k];
    const u = x - mx, v = y - my;
    return (c * u * u - 2 * b * u * v + a * v * v) / (a * c - b * b) <= 4;
  });
  return points.filter(inside).length / points.length;
}

const N = 400, END = 4.5;
const shares = once(signalShares);

/** Data, noise to blur them, and starts for the samplers. */
function makeDraws({ weights, means, covariances }, seed) {
  const { uniform, gaussian } = random(seed);
  const pair = () => [gaussian(), gaussian()];
  const data = Array.from({ length: N }, () => {
    let k = 0;
    for (let u = uniform() - weights[0]; u > 0 && k < weights.length - 1; u -= weights[k]) k += 1;
    const [[a, b], [, c]] = covariances[k], [u, v] = pair(), root = Math.sqrt(a);
    return [means[k][0] + root * u, means[k][1] + (b / root) * u + Math.sqrt(c - b * b / a) * v];
  });
  return { data, noise: data.map(pair), starts: data.map(pair) };
}

// A slider that moves t or the start asks for the same draws and samples again.
const drawsOf = latest((weights, means, covariances, seed) =>
  makeDraws({ weights, means, covariances }, seed));
const samplesOf = latest((weights, means, covariances, betas, seed, calls, eta) => {
  const mixture = { weights, means, covariances }, generator = random(seed + 1);
  const { starts } = drawsOf(weights, means, covariances, seed);
  return starts.map((start) => path(mixture, shares(betas), { calls, eta }, start, generator).at(-1));
});

function view(state) {
  const { weights, means, covariances, betas, seed, calls, eta, start, t } = state;
  const kept = shares(betas), draws = drawsOf(weights, means, covariances, seed);
  const samples = samplesOf(weights, means, covariances, betas, seed, calls, eta);
  const root = Math.sqrt(kept[t]), rest = Math.sqrt(1 - kept[t]);
  const way = path(state, kept, state, start, random(seed + 2));
  const steps = stops(betas.length, calls);
  return {
    cloud: draws.data.map((x, i) => x.map((v, axis) => root * v + rest * draws.noise[i][axis])),
    way: way.map(([x, y], i) => ({ x, y, t: steps[i] })),
    samples,
    kept: kept[t],
    inside: shareInside(state, samples),
    insideData: shareInside(state, draws.data),
  };
}

const square = {
  height: (width) => width,
  margins: { marginTop: 12, marginRight: 12, marginBottom: 32, marginLeft: 32 },
};
const plane = (marks) => ({
  ...square.margins,
  x: { domain: [-END, END], label: null, ticks: 5 },
  y: { domain: [-END, END], label: null, ticks: 5 },
  marks: [Plot.frame({ stroke: colour.rule }), ...marks],
});
const at = { x: "x", y: "y" };
const dots = (points, fill, r = 1.6) =>
  Plot.dot(points, { x: "0", y: "1", r, fill, fillOpacity: 0.6, clip: true });

const ticks = linspace(-4.2, 4.2, 15);
const places = ticks.flatMap((x) => ticks.map((y) => [x, y]));

/** Arrows of the score: their direction, and a length that grows with its logarithm. */
function arrows(state, kept) {
  return places.map(([x, y]) => {
    const [u, v] = score(state, kept, [x, y]);
    return { x, y, turn: 90 - (Math.atan2(v, u) * 180) / Math.PI,
      length: 5 * Math.log1p(Math.hypot(u, v)) };
  });
}

const chain = {
  ...square,
  title: "Step t: the cloud, its score, your path",
  plot: (state, { cloud, way, kept }) => plane([
    dots(cloud, colour.blue),
    Plot.vector(arrows(state, kept), { ...at, rotate: { value: "turn", scale: null },
      length: { value: "length", scale: null }, stroke: colour.slate, strokeOpacity: 0.7 }),
    Plot.line(way, { ...at, stroke: colour.vermilion, strokeDasharray: "2 3", clip: true }),
    Plot.line(way.filter((stop) => stop.t >= state.t), { ...at, stroke: colour.vermilion,
      strokeWidth: 2.5, clip: true }),
    Plot.dot(way, { ...at, r: 2.5, fill: colour.vermilion, clip: true }),
  ]),
  label: ({ t, betas }, { way }) =>
    `The plane at step ${t} of ${betas.length}: a cloud of ${N} points, arrows of the score, and a ` +
    `path of ${way.length - 1} strides from (${format(way[0].x)}, ${format(way[0].y)}) to ` +
    `(${format(way.at(-1).x)}, ${format(way.at(-1).y)}).`,
  handles: [{
    label: "Start of the path, pure noise",
    x: ({ start }) => start[0],
    y: ({ start }) => start[1],
    move: (_, x, y) => ({ start: [x, y].map((v) => clamp(v, [-4, 4])) }),
  }],
};

/** Points of the ellipse of two standard deviations of a component. */
function ellipse([mx, my], [[a, b], [, c]]) {
  const root = Math.sqrt(a), other = Math.sqrt(c - (b * b) / a);
  return linspace(0, 2 * Math.PI, 49).map((turn) => {
    const u = 2 * Math.cos(turn), v = 2 * Math.sin(turn);
    return [mx + root * u, my + (b / root) * u + other * v];
  });
}

const drawn = {
  ...square,
  depends: ["weights", "means", "covariances", "betas", "seed", "calls", "eta", "start"],
  title: `What ${N} starts become`,
  plot: ({ means, covariances }, { samples, way }) => plane([
    ...means.map((mean, k) =>
      Plot.line(ellipse(mean, covariances[k]), { x: "0", y: "1", stroke: colour.slate })),
    dots(samples, colour.vermilion),
    Plot.dot([way.at(-1)], { ...at, r: 6, stroke: colour.vermilion, strokeWidth: 3,
      fill: colour.paper }),
  ]),
  label: (_, { inside }) =>
    `${N} drawn points and the ellipses of the components; ` +
    `${format(100 * inside, 0)} percent of the points lie inside.`,
};

export default figure({
  view,
  panels: [chain, drawn],
  controls: ({ betas }) => [
    { slider: "t", label: "step t: left is the datum, right pure noise", min: 0, max: betas.length,
      step: 1, format: String },
    { slider: "calls", label: "strides back, each one guess of the noise",
      values: [1, 2, 3, 5, 10, 20, 50, 100].filter((n) => n <= betas.length), format: String },
    { slider: "eta", label: "η: fresh noise in each stride", min: 0, max: 1, step: 0.05 },
    { play: "Take the noise away", every: 60, step: "One step",
      advance: ({ t }) => (t > 0 ? { t: t - 1 } : null) },
    { button: "Back to pure noise", press: () => ({ t: betas.length }),
      off: ({ t }) => t === betas.length },
    { button: "Other draws", press: ({ seed }) => ({ seed: seed + 3 }) },
  ],
  numbers: ({ calls }, { kept, inside, insideData }) => [
    ["share of the signal left at step t", `${format(100 * kept, 1)} %`],
    [calls === 1 ? "drawn points inside the ellipses, after one stride"
      : `drawn points inside the ellipses, after ${calls} strides`,
      `${format(100 * inside, 0)} %`],
    ["data inside the ellipses", `${format(100 * insideData, 0)} %`],
  ],
});
