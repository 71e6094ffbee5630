// Two directions of the KL divergence between a mixture p and a Gaussian q that the reader moves.

const { Plot, clamp, colour, figure, format, linspace, logNormal, logSumExp, movableNormal, nats,
  once } = vaebookLive;

/** Log-density of the target, a mixture of normal distributions. */
export const logTarget = ({ weights, means, stds }, x) =>
  logSumExp(weights.map((weight, k) => Math.log(weight) + logNormal(x, means[k], stds[k])));

/** Mean and standard deviation of the target. */
export function moments({ weights, means, stds }) {
  const mean = weights.reduce((sum, weight, k) => sum + weight * means[k], 0);
  const square = weights.reduce((sum, weight, k) => sum + weight * (stds[k] ** 2 + means[k] ** 2), 0);
  return { mean, std: Math.sqrt(square - mean ** 2) };
}

const STEP = 0.01;
const GRID = linspace(-15, 15, 3001);
const onGrid = once((target) => GRID.map((x) => logTarget(target, x)));

/** What each divergence collects at each place of a grid. */
export function integrands({ target, mean, log_std }) {
  const std = Math.exp(log_std);
  return onGrid(target).map((logP, i) => {
    const logQ = logNormal(GRID[i], mean, std);
    return { x: GRID[i], forward: Math.exp(logP) * (logP - logQ), reverse: Math.exp(logQ) * (logQ - logP) };
  });
}

/** Both divergences, in nats, by quadrature. */
export function divergences(state) {
  const parts = integrands(state);
  const sum = (name) => STEP * parts.reduce((total, part) => total + part[name], 0);
  return { forward: sum("forward"), reverse: sum("reverse"), parts };
}

/** Slope of KL(q || p) in the mean and in the logarithm of the standard deviation of q. */
export function reverseSlope({ target, mean, log_std }) {
  const std = Math.exp(log_std);
  let byMean = 0, byLogStd = -1;
  for (const u of linspace(-6, 6, 121)) {
    const x = mean + std * u;
    const logs = target.weights.map((weight, k) =>
      Math.log(weight) + logNormal(x, target.means[k], target.stds[k]));
    const total = logSumExp(logs);
    const score = logs.reduce((sum, log, k) =>
      sum + (Math.exp(log - total) * (target.means[k] - x)) / target.stds[k] ** 2, 0);
    const weight = 0.1 * Math.exp(logNormal(u));
    byMean -= weight * score;
    byLogStd -= weight * score * std * u;
  }
  return { byMean, byLogStd };
}

/** One step down KL(q || p); null where it is level. */
export function descend(state) {
  const { byMean, byLogStd } = reverseSlope(state);
  if (Math.hypot(byMean, byLogStd) < 1e-4) return null;
  const scale = Math.exp(2 * state.log_std);
  const short = (step) => clamp(step, [-0.15, 0.15]);
  return {
    mean: state.mean - short(0.25 * scale * byMean),
    log_std: state.log_std - short(0.12 * byLogStd),
  };
}

/** The minimum of KL(q || p) to which the descent leads. */
export function reverseFit(state) {
  let now = state;
  for (let i = 0; i < 2000; i++) {
    const step = descend(now);
    if (!step) break;
    now = { ...now, ...step };
  }
  return { mean: now.mean, log_std: now.log_std };
}

const q = movableNormal({ means: [-4, 4], logStds: [-1.6, 1.1] });
const SHOWN = [-6, 6];
const every5 = (_, i) => i % 5 === 0;
const near = ({ x }, i) => every5(x, i) && x >= SHOWN[0] && x <= SHOWN[1];

const densities = {
  wide: true,
  height: 230,
  legend: [["p, the target", colour.slate], ["q(x), yours: drag its summit", colour.vermilion, "7 4"]],
  plot: ({ target, mean, log_std }) => {
    const places = GRID.filter((x, i) => near({ x }, i));
    return {
      x: { domain: SHOWN, label: "x" },
      y: { domain: [0, 0.9], label: "density" },
      marks: [
        Plot.areaY(places, { x: (x) => x, y: (x) => Math.exp(logTarget(target, x)),
          fill: colour.slate, fillOpacity: 0.25 }),
        Plot.line(places, { x: (x) => x, y: (x) => Math.exp(logTarget(target, x)), stroke: colour.slate }),
        Plot.line(linspace(...SHOWN, 241), { x: (x) => x,
          y: (x) => Math.exp(logNormal(x, mean, Math.exp(log_std))), stroke: colour.vermilion,
          strokeWidth: 2.4, strokeDasharray: "7 4", clip: true }),
        Plot.ruleY([0]),
      ],
    };
  },
  label: ({ mean, log_std }) =>
    `Density of p, with a peak on either side of 0, and of q, centred at ${format(mean)} ` +
    `with standard deviation ${format(Math.exp(log_std))}.`,
  handles: [q.handle],
};

const MOST = 0.8;
const costs = {
  wide: true,
  height: 170,
  title: "Where each divergence is paid (cut off at 0.8)",
  legend: [["KL(p ‖ q), the forward one", colour.blue], ["KL(q ‖ p), the reverse one", colour.teal, "2 3"]],
  plot: (_, { parts }) => {
    const shown = parts.filter(near);
    const curve = (cost, stroke, strokeDasharray) =>
      Plot.line(shown, { x: "x", y: (part) => clamp(cost(part), [-0.4, MOST]), stroke, strokeWidth: 2,
        strokeDasharray });
    return {
      x: { domain: SHOWN, label: "x" },
      y: { domain: [-0.4, MOST], label: "nats at x", ticks: 4 },
      marks: [
        Plot.ruleY([0]),
        curve(({ forward }) => forward, colour.blue, "none"),
        curve(({ reverse }) => reverse, colour.teal, "2 3"),
      ],
    };
  },
  label: (_, { forward, reverse }) =>
    `What each place adds to the divergences; the forward curve has the area ${format(forward)}, ` +
    `the reverse one ${format(reverse)}. Curves are cut off at ${MOST}.`,
};

const toMoments = ({ target }) => {
  const { mean, std } = moments(target);
  return { mean, log_std: Math.log(std) };
};
const toMode = (k) => ({ target }) =>
  reverseFit({ target, mean: target.means[k], log_std: Math.log(target.stds[k]) });

export default figure({
  view: divergences,
  panels: [densities, costs],
  controls: [
    ...q.sliders,
    { button: "Forward fit", press: toMoments },
    { button: "Reverse fit, left", press: toMode(0) },
    { button: "Reverse fit, right", press: toMode(1) },
    { play: "Walk down KL(q ‖ p)", advance: descend },
  ],
  numbers: ({ target }, { forward, reverse }) => {
    const { mean, std } = moments(target);
    const least = divergences({ target, mean, log_std: Math.log(std) }).forward;
    return [
      ["KL(p ‖ q), forward: expensive where p has mass and q has none", nats(forward)],
      ["the least it can be, with the moments of p", nats(least)],
      ["KL(q ‖ p), reverse: expensive where q has mass and p has none", nats(reverse)],
    ];
  },
});
