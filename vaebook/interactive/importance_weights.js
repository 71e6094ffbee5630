// Importance sampling of E[x^2] under a standard normal p, by draws from a Gaussian q that the
// reader moves: weights, effective sample size, and the estimate on its way.

const { Plot, clamp, colour, figure, format, latest, linspace, logNormal, logSumExp, movableNormal,
  normal, random } = vaebookLive;

const MOST = 3000;

/** Standard normal noise, the same for the same seed. */
export function noiseOf(seed) {
  const { gaussian } = random(seed);
  return Array.from({ length: MOST }, gaussian);
}

/** Draws from q and the logarithms of their weights p / q. */
export function weighted({ mean, log_std }, noise) {
  const std = Math.exp(log_std);
  return noise.map((e) => {
    const x = mean + std * e;
    return { x, logWeight: logNormal(x) - logNormal(x, mean, std) };
  });
}

/** Effective sample size of logarithms of weights. */
export const effective = (logWeights) =>
  Math.exp(2 * logSumExp(logWeights) - logSumExp(logWeights.map((log) => 2 * log)));

/** Self-normalised average of x^2, and its standard error. */
export function estimate(draws) {
  const total = logSumExp(draws.map((draw) => draw.logWeight));
  const shares = draws.map((draw) => Math.exp(draw.logWeight - total));
  const value = shares.reduce((sum, share, i) => sum + share * draws[i].x ** 2, 0);
  const square = shares.reduce((sum, share, i) => sum + (share * (draws[i].x ** 2 - value)) ** 2, 0);
  return { value, error: Math.sqrt(square) };
}

/** The limit of the effective share for many draws; zero where the weights have no variance. */
export function limitingShare({ mean, log_std }) {
  const variance = Math.exp(2 * log_std);
  const rest = 1 - 1 / (2 * variance);
  if (rest <= 0) return 0;
  const exponent = mean ** 2 / (2 * variance) + (mean / variance) ** 2 / (4 * rest);
  return Math.sqrt((2 * rest) / variance) * Math.exp(-exponent);
}

/** The estimate after more and more draws, by running sums that are carried at one scale. */
export function path(draws) {
  const top = Math.max(...draws.map((draw) => draw.logWeight));
  let w = 0, wx = 0, ww = 0, wwx = 0, wwxx = 0;
  return draws.map(({ x, logWeight }, i) => {
    const weight = Math.exp(logWeight - top), y = x ** 2;
    w += weight; wx += weight * y;
    ww += weight ** 2; wwx += weight ** 2 * y; wwxx += (weight * y) ** 2;
    const value = wx / w;
    const square = Math.max(wwxx - 2 * value * wwx + value ** 2 * ww, 0);
    return { n: i + 1, value, error: Math.sqrt(square) / w };
  });
}

const noiseAt = latest(noiseOf);

function view(state) {
  const draws = weighted(state, noiseAt(state.noise.seed).slice(0, state.n_draws));
  return { draws, ess: effective(draws.map((draw) => draw.logWeight)), ...estimate(draws) };
}

const q = movableNormal({ means: [-3, 3], logStds: [-1.2, 0.9] });
const SHOWN = [-5, 5];
const COUNTS = [10, 30, 100, 300, 1000, 3000];
const DOTS = 300;
const grid = linspace(...SHOWN, 201);
const curve = (f, options) => Plot.line(grid, { x: (x) => x, y: f, clip: true, ...options });

const draws = {
  wide: true,
  height: 250,
  legend: [
    ["p, standard normal", colour.slate],
    ["q, yours", colour.vermilion, "7 4"],
    [`draws from q, up to ${DOTS}; area by weight`, colour.blue, "dot"],
  ],
  plot: ({ mean, log_std }, { draws: all }) => {
    const most = Math.max(...all.map((draw) => draw.logWeight));
    const some = all.slice(0, DOTS).filter(({ x }) => Math.abs(x) < SHOWN[1]);
    return {
      x: { domain: SHOWN, label: "x" },
      y: { domain: [-0.16, 1.2], label: "density", ticks: [0, 0.4, 0.8, 1.2] },
      marks: [
        Plot.areaY(grid, { x: (x) => x, y: (x) => normal(x), fill: colour.slate, fillOpacity: 0.25 }),
        curve((x) => normal(x), { stroke: colour.slate }),
        curve((x) => normal(x, mean, Math.exp(log_std)),
          { stroke: colour.vermilion, strokeWidth: 2.2, strokeDasharray: "7 4" }),
        Plot.ruleY([0]),
        Plot.dot(some, { x: "x", y: -0.08, r: ({ logWeight }) => 9 * Math.exp((logWeight - most) / 2),
          fill: colour.blue, fillOpacity: 0.5 }),
      ],
      r: { type: "identity" },
    };
  },
  label: ({ mean, log_std, n_draws }, { ess }) =>
    `p is standard normal; q is centred at ${format(mean)} with standard deviation ` +
    `${format(Math.exp(log_std))}. Below them the draws from q, large where p / q is large: ` +
    `${n_draws} of them are worth ${format(ess, 0)}.`,
  handles: [q.handle],
};

const way = {
  wide: true,
  height: 190,
  title: "The estimate of the mean of x² under p, draw after draw; the band is two standard errors",
  plot: ({ n_draws }, { draws: all }) => {
    const step = Math.max(1, Math.floor(n_draws / 300));
    const some = path(all).filter(({ n }) => n >= 5 && (n - n_draws) % step === 0);
    const inside = (value) => clamp(value, [0, 2]);
    return {
      x: { domain: [5, Math.max(...COUNTS)], type: "log", label: "draws", tickFormat: "~s" },
      y: { domain: [0, 2], label: "estimate" },
      marks: [
        Plot.areaY(some, { x: "n", y1: (at) => inside(at.value - 2 * at.error),
          y2: (at) => inside(at.value + 2 * at.error), fill: colour.blue, fillOpacity: 0.2 }),
        Plot.line(some, { x: "n", y: (at) => inside(at.value), stroke: colour.blue, strokeWidth: 2 }),
        Plot.ruleY([1], { stroke: colour.ink, strokeDasharray: "3 3" }),
        Plot.text([1], { x: Math.max(...COUNTS), y: 1, text: ["truth"], dy: -9, textAnchor: "end" }),
      ],
    };
  },
  label: ({ n_draws }, { value, error }) =>
    `The estimate with a band of two standard errors, against the number of draws. After ${n_draws} ` +
    `it is ${format(value)} ± ${format(error)}; the truth is 1.`,
};

export default figure({
  view,
  panels: [draws, way],
  controls: [
    ...q.sliders,
    { slider: "n_draws", label: "number of draws, K", values: COUNTS, format: (n) => format(n, 0) },
    { button: "New draws", press: ({ noise }) => ({ noise: { seed: noise.seed + 1 } }) },
    { button: "Too narrow", press: () => ({ mean: 0, log_std: Math.log(0.5) }) },
    { button: "Wide enough", press: () => ({ mean: 0, log_std: Math.log(1.4) }) },
  ],
  numbers: (state, { ess, value, error }) => [
    ["effective number of draws, measured", `${format(ess, 0)} of ${state.n_draws}`],
    ["its limit, for many draws", `${format(limitingShare(state) * state.n_draws, 0)} of ${state.n_draws}`],
    ["mean of x² under p, estimated", `${format(value)} ± ${format(error)}`],
    ["the truth", format(1)],
  ],
});
