// From noise to a target: z goes up to its rank, and from the rank down to x. The target is a
// mixture of two normal densities, whose distance the reader chooses.

const { Plot, clamp, colour, figure, format, latest, linspace, normal } = vaebookLive;

/** Distribution function of the standard normal distribution, to rounding. */
export function normalCdf(z) {
  if (z > 0) return 1 - normalCdf(-z);
  if (z > -3) { // a series around 0
    let term = z, sum = z;
    for (let k = 3; Math.abs(term) > 1e-17; k += 2) sum += term *= (z * z) / k;
    return 0.5 + normal(z) * sum;
  }
  let tail = -z; // a continued fraction, from its end
  for (let k = 60; k > 0; k--) tail = -z + k / tail;
  return normal(z) / tail;
}

const sum = ({ weights, means, stds }, f) =>
  weights.reduce((total, weight, k) => total + weight * f(means[k], stds[k]), 0);

/** Density and distribution function of the target. */
export const density = (target, x) => sum(target, (mean, std) => normal(x, mean, std));
export const cdf = (target, x) => sum(target, (mean, std) => normalCdf((x - mean) / std));
/** One less the distribution function, with all its digits where it is small. */
const survival = (target, x) => sum(target, (mean, std) => normalCdf((mean - x) / std));

/** Where a rising function reaches zero, by halving. */
function solve(f, low, high) {
  for (let i = 0; i < 55; i++) {
    const middle = (low + high) / 2;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The number of the target with the rank of z, counted from the nearer end; and back. */
export const fromNoise = (target, z) =>
  solve(z < 0
    ? (x) => cdf(target, x) - normalCdf(z)
    : (x) => normalCdf(-z) - survival(target, x), -60, 60);
export const toNoise = (target, x) => {
  const below = cdf(target, x);
  return solve(below < 0.5
    ? (z) => normalCdf(z) - below
    : (z) => survival(target, x) - normalCdf(-z), -12, 12);
};
/** How fast x moves when z does. */
export const slope = (target, z) => normal(z) / density(target, fromNoise(target, z));

const ENDS = [-3, 3], NEAR = 0.15;

const targetOf = ({ weights, stds, distance }) =>
  ({ weights, stds, means: [-distance / 2, distance / 2] });

/** The function from z to x as a list of points, for as long as the target stays. */
const curveOf = latest((weights, stds, distance) => {
  const target = targetOf({ weights, stds, distance });
  return linspace(...ENDS, 181).map((z) => [z, fromNoise(target, z)]);
});

function view(state) {
  const target = targetOf(state), { z } = state;
  const band = [z - NEAR, z + NEAR];
  return {
    target, band, x: fromNoise(target, z), rank: normalCdf(z), slope: slope(target, z),
    image: band.map((end) => fromNoise(target, end)),
    window: [-state.distance / 2 - 3.2, state.distance / 2 + 3.2],
  };
}

const xy = { x: "0", y: "1", clip: true };
const table = (f, points) => points.map((x) => [x, f(x)]);

/** A distribution function, its density below, and the strip of ranks near the chosen one. */
function ranks({ title, label, domain, cumulative, dense, at, band, rank, stroke, arrow }) {
  const points = linspace(...domain, 181), strip = linspace(...band, 31);
  return {
    x: { domain, label, ticks: 6 },
    y: { domain: [0, 1], label: "share of numbers below", ticks: 5 },
    marks: [
      Plot.frame({ stroke: colour.rule }),
      Plot.areaY(table(dense, points), { ...xy, fill: stroke, fillOpacity: 0.12 }),
      Plot.areaY(table(dense, strip), { ...xy, fill: colour.gold, fillOpacity: 0.75 }),
      Plot.line(table(cumulative, points), { ...xy, stroke, strokeWidth: 2.2 }),
      Plot.link([arrow === "up" ? domain[1] : domain[0]], { x1: at, y1: rank, x2: (end) => end,
        y2: rank, stroke: colour.ink, strokeWidth: 1.3, strokeDasharray: "5 3" }),
      Plot.arrow([0], { x1: at, x2: at, y1: arrow === "up" ? 0 : rank,
        y2: arrow === "up" ? rank : 0, stroke: colour.ink, strokeWidth: 1.5, headLength: 7 }),
    ],
  };
}

const noise = {
  height: 250,
  title: "The noise: z, up to its rank",
  plot: ({ z }, { rank, band }) => ranks({ label: "z", domain: ENDS, cumulative: normalCdf,
    dense: (t) => normal(t), at: z, band, rank, stroke: colour.blue, arrow: "up" }),
  label: ({ z }, { rank }) => `The normal distribution function over z; an arrow goes up from ` +
    `${format(z)} to the rank ${format(rank, 3)}.`,
  handles: [{
    label: "Noise z",
    x: ({ z }) => z,
    y: () => 0,
    move: (_, z) => ({ z: clamp(z, ENDS) }),
    text: ({ z }) => `z ${format(z)}`,
  }],
};

const goal = {
  height: 250,
  title: "The target: from the rank down to x",
  plot: (_, { target, rank, x, image, window }) => ranks({ label: "x", domain: window,
    cumulative: (t) => cdf(target, t), dense: (t) => density(target, t), at: x, band: image, rank,
    stroke: colour.vermilion, arrow: "down" }),
  label: (_, { rank, x }) => `The target's distribution function over x; an arrow goes down from ` +
    `the rank ${format(rank, 3)} to ${format(x)}.`,
  handles: [{
    label: "Number x of the target",
    x: (_, { x }) => x,
    y: () => 0,
    move: (_, x, __, { target }) => ({ z: clamp(toNoise(target, x), ENDS) }),
    text: (_, { x }) => `x ${format(x)}`,
  }],
};

const both = {
  wide: true,
  height: 260,
  title: "The function from z to x, and its tangent",
  plot: ({ z, weights, stds, distance }, { x, slope: steep, window }) => {
    const reach = 0.45 / Math.hypot(1, steep / 2.5), ends = [z - reach, z + reach];
    return {
      x: { domain: ENDS, label: "z", ticks: 7 },
      y: { domain: window, label: "x", ticks: 6 },
      marks: [
        Plot.frame({ stroke: colour.rule }),
        Plot.line(curveOf(weights, stds, distance), { ...xy, stroke: colour.teal,
          strokeWidth: 2.2 }),
        Plot.line(ends.map((t) => [t, x + steep * (t - z)]), { ...xy, stroke: colour.ink,
          strokeWidth: 2, strokeDasharray: "6 3" }),
        Plot.dot([[z, x]], { ...xy, r: 5, fill: colour.ink }),
      ],
    };
  },
  label: ({ z }, { x, slope: steep }) => `A rising curve from z to x; at z ${format(z)} it has ` +
    `reached ${format(x)} and rises with slope ${format(steep)}.`,
};

export default figure({
  view,
  panels: [noise, goal, both],
  controls: [
    { slider: "z", label: "noise z", min: ENDS[0], max: ENDS[1] },
    { slider: "distance", label: "distance of the two bumps", min: 0, max: 8, step: 0.1,
      format: (d) => format(d, 1) },
  ],
  numbers: ({ z }, { target, rank, x, slope: steep, image }) => [
    ["rank of z", format(rank, 4)],
    ["x of the same rank", format(x, 3)],
    ["slope: noise density at z over target density at x",
      `${format(normal(z), 3)} / ${format(density(target, x), 3)} = ${format(steep, 2)}`],
    ["width of the golden strips, which hold equal shares",
      `${format(2 * NEAR)} and ${format(image[1] - image[0])}`],
  ],
});
