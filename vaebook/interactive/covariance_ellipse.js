// A Gaussian in the plane: its axes and a cut may be dragged; ellipses and conditional follow.
// x has the given mean, and standard deviations `first` and `second` along two axes at right
// angles; the first axis stands at `angle` degrees. The cut is the observed value of x₂.

const { Plot, clamp, colour, figure, format, linspace, normal } = vaebookLive;

const radians = (angle) => (angle * Math.PI) / 180;

/** Covariance [Σ₁₁, Σ₁₂, Σ₂₂] from the standard deviations along the axes and their angle. */
export function covariance({ first, second, angle }) {
  const c = Math.cos(radians(angle)), s = Math.sin(radians(angle));
  return [
    (c * first) ** 2 + (s * second) ** 2,
    c * s * (first ** 2 - second ** 2),
    (s * first) ** 2 + (c * second) ** 2,
  ];
}

/** Mean and standard deviation of x₁ once x₂ is known to be `cut`. */
export function conditional(cut, mean, [s11, s12, s22]) {
  return { mean: mean[0] + (s12 / s22) * (cut - mean[1]), std: Math.sqrt(s11 - s12 ** 2 / s22) };
}

/** Points at one Mahalanobis distance from the mean: the mean plus L times a circle. */
export function ellipse(radius, mean, [s11, s12, s22]) {
  const l11 = Math.sqrt(s11), l21 = s12 / l11, l22 = Math.sqrt(s22 - l21 ** 2);
  return linspace(0, 2 * Math.PI, 97).map((t) => [
    mean[0] + radius * l11 * Math.cos(t),
    mean[1] + radius * (l21 * Math.cos(t) + l22 * Math.sin(t)),
  ]);
}

function view(state) {
  const matrix = covariance(state), [s11, s12, s22] = matrix;
  return {
    matrix,
    correlation: s12 / Math.sqrt(s11 * s22),
    marginal: { mean: state.mean[0], std: Math.sqrt(s11) },
    given: conditional(state.cut, state.mean, matrix),
  };
}

const SIDE = [-4, 4], STDS = [0.2, 1.8], CUTS = [-3, 3];
const TURN = { first: 0, second: 90 };

/** The point two standard deviations from the mean along an axis. */
const end = (state, axis) => {
  const angle = radians(state.angle + TURN[axis]), reach = 2 * state[axis];
  return [state.mean[0] + reach * Math.cos(angle), state.mean[1] + reach * Math.sin(angle)];
};

// An axis has no direction: the angle stays between -90 and 90 degrees.
const fold = (angle) => angle - 180 * Math.round(angle / 180);

const axisHandle = (axis, label) => ({
  label,
  x: (state) => end(state, axis)[0],
  y: (state) => end(state, axis)[1],
  move: ({ mean }, x, y) => {
    const [d1, d2] = [x - mean[0], y - mean[1]];
    const angle = (Math.atan2(d2, d1) * 180) / Math.PI;
    return { [axis]: clamp(Math.hypot(d1, d2) / 2, STDS), angle: fold(angle - TURN[axis]) };
  },
  text: (state) => `standard deviation ${format(state[axis])}, angle ${format(state.angle, 0)}°`,
});

const plane = {
  title: "Density of (x₁, x₂)",
  legend: [["mean of x₁ at each cut", colour.teal, "2 4"]],
  height: (width) => Math.min(width, 400),
  plot: (state, { matrix, given }, width) => ({
    width: Math.min(width, 400),
    x: { domain: SIDE, label: "x₁" },
    y: { domain: SIDE, label: "x₂" },
    marginLeft: 36, marginRight: 12, marginTop: 20,
    marks: [
      // The shade is darkest where many ellipses lie over each other, and so is the density.
      ...linspace(3, 0.25, 12).map((radius) => Plot.line(ellipse(radius, state.mean, matrix), {
        fill: colour.blue, fillOpacity: 0.09, stroke: "none", clip: true,
      })),
      ...[1, 2].map((radius) => Plot.line(ellipse(radius, state.mean, matrix), {
        stroke: colour.ink, strokeWidth: 1.2, clip: true,
      })),
      Plot.link(["first", "second"], {
        x1: state.mean[0], y1: state.mean[1],
        x2: (axis) => end(state, axis)[0], y2: (axis) => end(state, axis)[1],
        stroke: colour.ink, clip: true,
      }),
      Plot.line(SIDE, {
        x: (x2) => conditional(x2, state.mean, matrix).mean, y: (x2) => x2,
        stroke: colour.teal, strokeWidth: 2, strokeDasharray: "2 4", clip: true,
      }),
      Plot.ruleY([state.cut], { stroke: colour.vermilion, strokeWidth: 2, strokeDasharray: "7 4" }),
      Plot.dot([given], { x: "mean", y: state.cut, r: 5, fill: colour.vermilion }),
    ],
  }),
  label: ({ cut }, { correlation, given }) =>
    `Ellipses of a Gaussian with correlation ${format(correlation)}. A line at x₂ = ` +
    `${format(cut)} cuts them; there the mean of x₁ is ${format(given.mean)}.`,
  handles: [
    axisHandle("first", "End of the first axis, two standard deviations from the mean"),
    axisHandle("second", "End of the second axis, two standard deviations from the mean"),
    {
      label: "The cut: the observed value of x₂",
      x: () => 3.6,
      y: ({ cut }) => cut,
      move: (_, x, y) => ({ cut: clamp(y, CUTS) }),
      text: ({ cut }) => `x₂ = ${format(cut)}`,
    },
  ],
};

const grid = linspace(...SIDE, 161);
const bell = ({ mean, std }, options) => Plot.line(grid, {
  x: (x) => x, y: (x) => normal(x, mean, std), strokeWidth: 2.2, clip: true, ...options,
});
const spread = ({ mean, std }) => `${format(mean)} ± ${format(std)}`;

const densities = {
  title: "Density of x₁",
  height: 260,
  legend: [
    ["before x₂ is known", colour.blue],
    ["along the cut", colour.vermilion, "7 4"],
  ],
  plot: (_, { marginal, given }) => ({
    x: { domain: SIDE, label: "x₁" },
    y: { domain: [0, Math.max(0.8, 0.42 / given.std)], label: "density" },
    marks: [
      Plot.ruleY([0]),
      bell(marginal, { stroke: colour.blue }),
      bell(given, { stroke: colour.vermilion, strokeDasharray: "7 4" }),
    ],
  }),
  label: (_, { marginal, given }) =>
    `Two bells over x₁, mean ± standard deviation: before x₂ is known ${spread(marginal)}, ` +
    `along the cut ${spread(given)}.`,
};

export default figure({
  view,
  panels: [plane, densities],
  controls: [
    { slider: "cut", label: "the cut: observed x₂", min: CUTS[0], max: CUTS[1] },
    { slider: "angle", label: "angle of the first axis", min: -90, max: 90, step: 1,
      format: (angle) => `${format(angle, 0)}°` },
    { slider: "first", label: "standard deviation along it", min: STDS[0], max: STDS[1] },
    { slider: "second", label: "standard deviation across it", min: STDS[0], max: STDS[1] },
  ],
  numbers: (_, { matrix, correlation, marginal, given }) => [
    ["covariance: Σ₁₁, Σ₁₂, Σ₂₂", matrix.map((value) => format(value)).join(", ")],
    ["correlation", format(correlation)],
    ["x₁ before x₂ is known, mean ± standard deviation", spread(marginal)],
    ["x₁ along the cut, mean ± standard deviation", spread(given)],
  ],
});
