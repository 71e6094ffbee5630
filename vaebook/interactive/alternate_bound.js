// Two kinds of steps up the bound, on a model with one weight and one latent, in closed form.
// Model: z ~ N(0, 1), x | z ~ N(weight z, noise_std^2); q(z | x) = N(slope x, variance).
// All numbers are averages over data with the mean square `square`.

const { Plot, clamp, colour, figure, format, linspace, nats } = vaebookLive;

/** Average log p(x): data with a mean square, under N(0, weight^2 + noise_std^2). */
export function evidence({ square, noise_std, weight }) {
  const variance = weight ** 2 + noise_std ** 2;
  return -0.5 * (Math.log(2 * Math.PI * variance) + square / variance);
}

/** Average bound, the expected log-likelihood less the divergence to the prior. */
export function bound({ square, noise_std, weight, slope, variance }) {
  const residual = square * (1 - weight * slope) ** 2 + weight ** 2 * variance;
  const reconstruction = -0.5 * (Math.log(2 * Math.PI * noise_std ** 2) + residual / noise_std ** 2);
  const kl = 0.5 * (slope ** 2 * square + variance - 1 - Math.log(variance));
  return reconstruction - kl;
}

/** The best q for the model as it is: its posterior. */
export function stepQ({ noise_std, weight }) {
  const total = weight ** 2 + noise_std ** 2;
  return { slope: weight / total, variance: noise_std ** 2 / total };
}

/** The best weight for q as it is. */
export function stepModel({ square, slope, variance }) {
  return { weight: (slope * square) / (slope ** 2 * square + variance) };
}

/** The weight with the highest evidence. */
export const bestWeight = ({ square, noise_std }) => Math.sqrt(Math.max(square - noise_std ** 2, 0));

const WEIGHTS = [0.05, 2.2];
const NATS = [-3.2, -1.7];
const grid = linspace(...WEIGHTS, 160);

function view(state) {
  const logP = evidence(state), elbo = bound(state);
  return { logP, elbo, gap: logP - elbo };
}

const curves = {
  wide: true,
  height: 280,
  legend: [
    ["log p(x)", colour.ink],
    ["the bound with q as it is", colour.blue, "7 4"],
    ["the gap, a KL divergence", colour.vermilion, "", 4],
    ["steps", colour.teal, "", 1.5],
  ],
  plot: (state, { logP, elbo }) => {
    const { weight, path } = state;
    const curve = (f, stroke, strokeWidth, strokeDasharray = "none") =>
      Plot.line(grid, { x: (w) => w, y: (w) => f({ ...state, weight: w }), stroke, strokeWidth,
        strokeDasharray, clip: true });
    return {
      x: { domain: WEIGHTS, label: "weight of the decoder" },
      y: { domain: NATS, label: "nats" },
      marks: [
        curve(evidence, colour.ink, 2),
        curve(bound, colour.blue, 2, "7 4"),
        Plot.line(path, { x: "0", y: "1", stroke: colour.teal, strokeWidth: 1.5, clip: true }),
        Plot.dot(path, { x: "0", y: "1", r: 2.5, fill: colour.teal, clip: true }),
        Plot.ruleX([weight], { y1: Math.max(elbo, NATS[0]), y2: logP, stroke: colour.vermilion,
          strokeWidth: 4 }),
      ],
    };
  },
  label: ({ weight }, { logP, elbo, gap }) =>
    `Over the weight, log p(x) and below it the bound with the present q. At the weight ` +
    `${format(weight)} they are ${format(logP, 3)} and ${format(elbo, 3)}, a gap of ${format(gap, 3)} nats.`,
  handles: [{
    label: "Weight of the decoder, on the bound",
    x: ({ weight }) => weight,
    y: (_, { elbo }) => elbo,
    move: (_, weight) => ({ weight: clamp(weight, WEIGHTS), path: [] }),
    text: ({ weight }, { elbo }) => `weight ${format(weight)}, bound ${format(elbo, 3)} nats`,
  }],
};

/** Take a step, and note where it led. */
function walk(state, changes, next) {
  const now = { ...state, ...changes };
  const start = state.path.length ? state.path : [[state.weight, bound(state)]];
  return { ...changes, next, path: [...start, [now.weight, bound(now)]].slice(-40) };
}

const overQ = (state) => walk(state, stepQ(state), "model");
const overModel = (state) => walk(state, stepModel(state), "q");
const alternate = (state) => {
  const changes = state.next === "q" ? overQ(state) : overModel(state);
  return bound({ ...state, ...changes }) - bound(state) < 1e-5 && state.path.length > 1 ? null : changes;
};

export default figure({
  view,
  panels: [curves],
  controls: [
    { slider: "weight", label: "weight of the decoder, θ", min: WEIGHTS[0], max: WEIGHTS[1],
      set: (_, weight) => ({ weight, path: [] }) },
    { slider: "slope", label: "slope of the encoder, in φ", min: 0, max: 1,
      set: (_, slope) => ({ slope, path: [] }) },
    { slider: "variance", label: "variance of q, in φ", min: 0.05, max: 1.5,
      set: (_, variance) => ({ variance, path: [] }) },
    { button: "Step over φ: the best q", press: overQ },
    { button: "Step over θ: the best weight", press: overModel },
    { play: "Alternate", advance: alternate, every: 500, step: null },
  ],
  numbers: (state, { logP, elbo, gap }) => [
    ["log p(x), averaged over the data", nats(logP)],
    ["the bound", nats(elbo)],
    ["the gap: KL(q ‖ p(z | x))", nats(gap)],
    ["the highest log p(x), with any weight", nats(evidence({ ...state, weight: bestWeight(state) }))],
  ],
});
