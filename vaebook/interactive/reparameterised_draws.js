// Two estimates of one gradient, draw by draw, while the reader moves q and the noise stays.
// f(z) = log p(x|z) of the model x | z ~ N(weight z + offset, noise_std^2); q = N(mean, exp(log_std)^2).

const { Plot, clamp, colour, figure, format, latest, linspace, logNormal, movableNormal, normal,
  random, word } = vaebookLive;

const N_DRAWS = 40;

/** The fixed noise: the same seed gives the same numbers. */
export function noiseOf(seed) {
  const { gaussian } = random(seed);
  return Array.from({ length: N_DRAWS }, gaussian);
}

/** f(z) and its derivative. */
export const f = ({ weight, offset, noise_std, x }, z) => logNormal(x, weight * z + offset, noise_std);
export const slope = ({ weight, offset, noise_std, x }, z) =>
  (weight * (x - weight * z - offset)) / noise_std ** 2;

/** The exact gradient of E_q[f], by the mean and by the logarithm of the standard deviation. */
export function exactGradient(state) {
  const { weight, noise_std, mean, log_std } = state;
  return [slope(state, mean), -(((weight * Math.exp(log_std)) / noise_std) ** 2)];
}

/** Both gradients from each draw, for given noise, by the two ways. */
export function gradients(state, noise) {
  const std = Math.exp(state.log_std);
  const draws = noise.map((e) => state.mean + std * e);
  const values = draws.map((z) => f(state, z));
  // Each draw's baseline is the mean of the other draws, on which its own noise has no influence.
  const total = values.reduce((sum, value) => sum + value, 0);
  const baseline = (i) => (state.baseline ? (total - values[i]) / (values.length - 1) : 0);
  return draws.map((z, i) => {
    const slopeHere = slope(state, z), value = values[i] - baseline(i);
    return {
      z,
      value: values[i],
      through: [slopeHere, slopeHere * std * noise[i]],
      score: [(value * noise[i]) / std, value * (noise[i] ** 2 - 1)],
    };
  });
}

/** Mean, standard deviation, and standard error of the mean. */
export function summary(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const std = Math.sqrt(square / (values.length - 1));
  return { mean, std, error: std / Math.sqrt(values.length) };
}

const noiseAt = latest(noiseOf);

function view(state) {
  const draws = gradients(state, noiseAt(state.seed));
  const [through, score] = ["through", "score"].map((way) =>
    draws.map((draw) => draw[way][state.by]));
  return {
    draws, through, score,
    exact: exactGradient(state)[state.by],
    ofThrough: summary(through),
    ofScore: summary(score),
  };
}

const ZS = [-3, 3];
const FLOOR = -12;
const REACH = 0.5; // of a slope that is drawn, to both sides
const EVERY = 6; // of the draws in a row, one shows its slope
const TALL = 7; // of q's density, in nats of the axis
const q = movableNormal({ means: [-2, 2.5], logStds: [-1.4, 0.6], scale: TALL, floor: FLOOR });
const grid = linspace(...ZS, 181);

const axis = {
  wide: true,
  height: 250,
  legend: [
    ["f(z) = log p(x | z)", colour.blue],
    ["q(z), not to scale", colour.vermilion, "7 4"],
    ["slope of f at some draws", colour.teal],
  ],
  plot: (state, { draws }) => {
    const { mean, log_std } = state;
    const isInside = ({ z, value }) => Math.abs(z) < ZS[1] && value > FLOOR;
    const inside = draws.filter(isInside);
    const some = [...draws].sort((a, b) => a.z - b.z).filter((_, i) => i % EVERY === 2);
    return {
      x: { domain: ZS, label: "z" },
      y: { domain: [FLOOR, 0.5], label: "f(z), nats" },
      marks: [
        Plot.line(grid, { x: (z) => z, y: (z) => FLOOR + TALL * normal(z, mean, Math.exp(log_std)),
          stroke: colour.vermilion, strokeWidth: 2, strokeDasharray: "7 4", clip: true }),
        Plot.line(grid, { x: (z) => z, y: (z) => f(state, z), stroke: colour.blue, strokeWidth: 2,
          clip: true }),
        Plot.link(some.filter(isInside), { x1: ({ z }) => z - REACH, x2: ({ z }) => z + REACH,
          y1: ({ value, through }) => value - REACH * through[0],
          y2: ({ value, through }) => value + REACH * through[0],
          stroke: colour.teal, strokeWidth: 2, clip: true }),
        Plot.dot(inside, { x: "z", y: "value", r: 2.5, fill: colour.ink }),
        Plot.ruleX(draws.filter(({ z }) => Math.abs(z) < ZS[1]), { x: "z", y1: FLOOR,
          y2: FLOOR + 0.6, stroke: colour.ink, strokeOpacity: 0.6 }),
      ],
    };
  },
  label: ({ weight, offset, x, mean, log_std }, { draws }) =>
    `The curve f, highest at z = ${format((x - offset) / weight)}, and ${draws.length} draws from q, ` +
    `which is centred at ${format(mean)} with standard deviation ${format(Math.exp(log_std))}. ` +
    "Some of them show the slope of f where they stand.",
  handles: [q.handle],
};

const SPAN = 30;
const WAYS = [
  ["through", "reparameterised", colour.teal, "ofThrough"],
  ["score", "score function", colour.vermilion, "ofScore"],
];
// Dots of one row are spread up and down in a fixed order, so that they do not hide each other.
const spread = (i) => 0.25 * (((i * 7) % 11) / 5 - 1);

const estimates = {
  wide: true,
  height: 205,
  title: "The gradient from each draw; a bar is the mean of all",
  legend: [["exact", colour.ink, "3 3"]],
  plot: (_, now, width) => ({
    x: { domain: [-SPAN, SPAN], label: "nats per unit" },
    y: { domain: [-0.6, 2.1], axis: null },
    marginLeft: 12, marginRight: 12,
    marks: [
      Plot.ruleX([now.exact], { stroke: colour.ink, strokeDasharray: "3 3" }),
      ...WAYS.flatMap(([way, name, hue, summaryOf], row) => [
        Plot.dot(now[way], { x: (value) => clamp(value, [-SPAN, SPAN]), y: (_, i) => row + spread(i),
          r: width < 400 ? 2.5 : 3, fill: hue, fillOpacity: 0.45, symbol: row ? "square" : "circle" }),
        Plot.ruleX([now[summaryOf].mean], { y1: row - 0.38, y2: row + 0.38, stroke: hue, strokeWidth: 4 }),
        Plot.text([name], { x: -SPAN, y: row + 0.5, text: (text) => text, textAnchor: "start", fill: hue }),
      ]),
    ],
  }),
  label: (_, now) =>
    `Two rows of dots about the exact gradient ${format(now.exact)}. Those of the reparameterised ` +
    `estimate have a standard deviation of ${format(now.ofThrough.std)}, those of the score function ` +
    `one of ${format(now.ofScore.std)}.`,
};

const row = (name, { mean, error, std }) =>
  [name, `${format(mean)} \u00b1 ${format(error)}`, format(std)];

export default figure({
  view,
  panels: [axis, estimates],
  controls: [
    ...q.sliders,
    { choice: "by", label: "gradient by", options: [[0, "the mean"], [1, "the log of the deviation"]] },
    { toggle: "baseline", label: "score function with a baseline" },
    { button: "New noise", press: ({ seed }) => ({ seed: seed + 1 }) },
  ],
  numbers: (_, now) => [
    [`${N_DRAWS} draws`, "mean \u00b1 error", "spread"],
    ["exact", format(now.exact), "0"],
    row(word("reparameterised"), now.ofThrough),
    row("score function", now.ofScore),
  ],
});
