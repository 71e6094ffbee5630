// Infinite mixture: draw n codes from the prior, decode them, put a Gaussian around each. As n
// grows, the finite mixture becomes the density of the model with a continuous code.

const { Plot, colour, figure, format, latest, linspace, normal, random } = vaebookLive;

/** The decoder: it stretches the middle of the code. */
export const decode = ({ stretch }, z) => z + stretch * Math.tanh(3 * z);

/** Average of the normal densities around the centres, at each x. */
export const mixture = (centres, sigma, grid) =>
  grid.map((x) => centres.reduce((sum, c) => sum + normal(x, c, sigma), 0) / centres.length);

const CODES = linspace(-6, 6, 601);

/** The integral over all codes, at each x. */
export const exact = (model, sigma, grid) => grid.map((x) =>
  CODES.reduce((sum, z) => sum + normal(x, decode(model, z), sigma) * normal(z), 0) *
    (CODES[1] - CODES[0]));

const integral = (values, grid) =>
  values.reduce((sum, v, i) => sum + v * (i % (grid.length - 1) ? 1 : 0.5), 0) * (grid[1] - grid[0]);

/** Integral of the squared difference. */
export const squaredError = (p, q, grid) => integral(p.map((v, i) => (v - q[i]) ** 2), grid);

/** What that error is on average, for n codes. */
export const expectedError = (p, sigma, grid, n) =>
  (normal(0, 0, Math.SQRT2 * sigma) - integral(p.map((v) => v * v), grid)) / n;

const COUNTS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];
const X = [-7, 7], grid = linspace(...X, 281), SHOWN = 50;
const codesOf = latest((seed) => {
  const { gaussian } = random(seed);
  return Array.from({ length: COUNTS.at(-1) }, gaussian);
});
const exactOf = latest((stretch, sigma) => exact({ stretch }, sigma, grid));

function view({ stretch, sigma, n, seed }) {
  const codes = codesOf(seed).slice(0, n), centres = codes.map((z) => decode({ stretch }, z));
  const whole = exactOf(stretch, sigma), drawn = mixture(centres, sigma, grid);
  return {
    codes, centres, whole, drawn, error: squaredError(drawn, whole, grid),
    expected: expectedError(whole, sigma, grid, n),
  };
}

const at = { x: (_, i) => grid[i], y: (value) => value, clip: true };
const curve = {
  height: 260,
  title: "The density of x",
  legend: [["average of n Gaussians", colour.blue], ["infinitely many", colour.ink, "6 3"]],
  plot: ({ sigma, n }, { centres, whole, drawn }) => ({
    x: { domain: X, label: "x", ticks: 7 },
    y: { domain: [0, Math.max(...drawn, ...whole) * 1.06], label: "density", ticks: 4 },
    marks: [
      Plot.frame({ stroke: colour.rule }),
      Plot.areaY(drawn, { ...at, fill: colour.blue, fillOpacity: 0.25 }),
      ...(n > 1 && n <= 20 ? centres : []).map((c) =>
        Plot.line(grid, { x: (x) => x, y: (x) => normal(x, c, sigma) / n, stroke: colour.blue,
          strokeOpacity: 0.5, clip: true })),
      Plot.line(drawn, { ...at, stroke: colour.blue, strokeWidth: 2 }),
      Plot.line(whole, { ...at, stroke: colour.ink, strokeWidth: 1.8, strokeDasharray: "6 3" }),
    ],
  }),
  label: ({ n }, { error }) => `Density over x: the average of ${n} Gaussians, filled, and the ` +
    `density with infinitely many, dashed. Their squared difference is ${format(error, 4)}.`,
};

const decoder = {
  height: 260,
  title: "The decoder, and the codes drawn",
  plot: ({ stretch }, { codes }) => ({
    x: { domain: [-3, 3], label: "code z", ticks: 7 },
    y: { domain: X, label: "decoded", ticks: 7 },
    marks: [
      Plot.frame({ stroke: colour.rule }),
      Plot.line(linspace(-3, 3, 121), { x: (z) => z, y: (z) => decode({ stretch }, z),
        stroke: colour.teal, strokeWidth: 2 }),
      Plot.dot(codes.slice(0, SHOWN), { x: (z) => z, y: (z) => decode({ stretch }, z), r: 4,
        fill: colour.blue, fillOpacity: 0.7, clip: true }),
      Plot.ruleX(codes.slice(0, SHOWN), { x: (z) => z, y1: X[0], y2: X[0] + 0.8,
        stroke: colour.blue, strokeOpacity: 0.7, clip: true }),
    ],
  }),
  label: ({ n }) => `The decoder over the code z, an S that is steep in the middle, with ` +
    `${Math.min(n, SHOWN)} of the ${n} codes.`,
};

export default figure({
  view,
  panels: [curve, decoder],
  controls: [
    { slider: "n", label: "number of codes n", values: COUNTS, format: (n) => n.toLocaleString("en") },
    { slider: "sigma", label: "standard deviation of each Gaussian", min: 0.1, max: 1, step: 0.05 },
    { slider: "stretch", label: "how far the decoder stretches the middle", min: 0, max: 3, step: 0.1,
      format: (value) => format(value, 1) },
    { play: "Let n grow", every: 500, step: "Next n",
      advance: ({ n }) => (n < COUNTS.at(-1) ? { n: COUNTS[COUNTS.indexOf(n) + 1] } : null) },
    { button: "Other codes", press: ({ seed }) => ({ seed: seed + 1 }) },
  ],
  numbers: (_, { error, expected }) => [
    ["squared difference from the dashed curve, over all x", format(error, 5)],
    ["the same, expected: it falls like 1/n", format(expected, 5)],
  ],
});
