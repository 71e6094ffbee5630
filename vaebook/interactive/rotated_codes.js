// A linear model of two hidden drivers whose matrix the reader turns: the density of the readings
// stays, and what the drivers do changes. Model: x = W R(angle) z + noise, z standard normal.

const { Plot, colour, figure, format, linspace, list, once, word } = vaebookLive;

/** Rows of W times the rotation by an angle. */
export function turned(weight, angle) {
  const c = Math.cos(angle), s = Math.sin(angle);
  return weight.map(([a, b]) => [a * c + b * s, b * c - a * s]);
}

// W'W and W'x, the only numbers of a reading that the posterior and the density need.
function products(weight, x) {
  const inner = [0, 1].map((j) => [0, 1].map((k) =>
    weight.reduce((sum, row) => sum + row[j] * row[k], 0)));
  const outer = [0, 1].map((k) => weight.reduce((sum, row, i) => sum + row[k] * x[i], 0));
  return { inner, outer };
}

/** Inverse and determinant of noise_var I + W'W, two by two. */
function inverse(inner, noise_var) {
  const [[a, b], [, d]] = inner;
  const first = a + noise_var, last = d + noise_var;
  const det = first * last - b * b;
  return { det, matrix: [[last / det, -b / det], [-b / det, first / det]] };
}

/** Posterior mean of the drivers, given one reading. */
export function inferred(weight, noise_var, x) {
  const { inner, outer } = products(weight, x);
  const { matrix } = inverse(inner, noise_var);
  return matrix.map((row) => row[0] * outer[0] + row[1] * outer[1]);
}

/** Log-density of one reading, in nats, by the matrix inversion lemma. */
export function logDensity(weight, noise_var, x) {
  const { inner, outer } = products(weight, x);
  const { det, matrix } = inverse(inner, noise_var);
  const explained = matrix.reduce((sum, row, k) =>
    sum + outer[k] * (row[0] * outer[0] + row[1] * outer[1]), 0);
  const square = x.reduce((sum, value) => sum + value * value, 0);
  const n = x.length;
  return -0.5 * (n * Math.log(2 * Math.PI) + (n - 2) * Math.log(noise_var) + Math.log(det) +
    (square - explained) / noise_var);
}

function view({ data, angle }) {
  const weight = turned(data.weight, angle);
  return {
    weight,
    codes: data.readings.map((x) => inferred(weight, data.noise_var, x)),
    logP: data.readings.map((x) => logDensity(weight, data.noise_var, x)),
  };
}

const ellipses = once(({ weight, noise_var, shown }) => {
  const [p, q] = shown.map((i) => weight[i]);
  const a = p[0] ** 2 + p[1] ** 2 + noise_var, d = q[0] ** 2 + q[1] ** 2 + noise_var;
  const b = p[0] * q[0] + p[1] * q[1];
  const low = Math.sqrt(a), slope = b / low, rest = Math.sqrt(d - slope ** 2);
  return linspace(0, 2 * Math.PI, 90).flatMap((t) =>
    [1, 2].map((r) => ({ r, x: r * low * Math.cos(t), y: r * (slope * Math.cos(t) + rest * Math.sin(t)) })));
});

const HUES = [colour.vermilion, colour.teal];
const MARKS = once((readings) => readings.map((_, i) => i % 6));
const group = ({ data }) => MARKS(data.readings);
const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "star"];
const symbols = { symbol: { domain: [0, 1, 2, 3, 4, 5], range: SYMBOLS } };
const days = (points, marks) => Plot.dot(points, { x: "0", y: "1", symbol: (_, i) => marks[i], r: 4,
  stroke: colour.blue, strokeWidth: 1.4, clip: true });

const REACH = 2;
// The name of an arrow stands beyond its tip, and beyond the handle that may lie there.
function beyond(x, y) {
  const across = x / Math.hypot(x, y), up = y / Math.hypot(x, y);
  const side = Math.abs(across) < 0.4 ? "middle" : across > 0 ? "start" : "end";
  return { x, y, dx: 14 * across, dy: -19 * up, textAnchor: side };
}
const arrows = (pairs) => pairs.flatMap(([x, y], k) => [
  Plot.arrow([0], { x1: 0, y1: 0, x2: x, y2: y, stroke: HUES[k], strokeWidth: 3, headLength: 9 }),
  Plot.text([0], { ...beyond(x, y), text: [`driver ${k + 1}`], fill: HUES[k], fontWeight: 600,
    stroke: colour.paper, strokeWidth: 5, paintOrder: "stroke" }),
]);

const square = (width) => Math.min(width, 330);
// Margins with which one unit is as long across as upwards.
function margins(width) {
  const side = Math.max(0, width - square(width)) / 2;
  return { marginTop: 20, marginBottom: 40, marginLeft: side + 40, marginRight: side + 20 };
}

const seen = {
  title: "What is seen: two of the readings",
  height: square,
  plot: (state, { weight }, width) => {
    const { data } = state;
    const points = data.readings.map((x) => data.shown.map((i) => x[i]));
    return {
      ...margins(width),
      x: { domain: [-4, 4], label: data.names[0] },
      y: { domain: [-4, 4], label: data.names[1] },
      ...symbols,
      marks: [
        Plot.line(ellipses(data), { x: "x", y: "y", z: "r", stroke: colour.slate, strokeOpacity: 0.7 }),
        ...arrows([0, 1].map((k) => data.shown.map((i) => REACH * weight[i][k]))),
        days(points, group(state)), // over the names of the arrows
      ],
    };
  },
  label: ({ data }, { weight }) =>
    `Readings of ${data.readings.length} days and the ellipses of the model's density, which do not move. ` +
    [0, 1].map((k) => `Driver ${k + 1} points to ` +
      `(${list(data.shown.map((i) => format(REACH * weight[i][k])))})`).join(word("; ")) + word("."),
  handles: [{
    label: "What driver 1 does; turns the matrix",
    x: ({ data }, { weight }) => REACH * weight[data.shown[0]][0],
    y: ({ data }, { weight }) => REACH * weight[data.shown[1]][0],
    move: ({ data }, x, y) => {
      const [[a, b], [c, d]] = data.shown.map((i) => data.weight[i]);
      const det = a * d - b * c;
      return { angle: Math.atan2((a * y - c * x) / det, (d * x - b * y) / det) };
    },
    text: ({ angle }) => `turned by ${degrees(angle)}`,
  }],
};

const hidden = {
  title: "What is inferred: the drivers of the same days",
  height: square,
  plot: (state, { codes }, width) => ({
    ...margins(width),
    x: { domain: [-3, 3], label: "driver 1" },
    y: { domain: [-3, 3], label: "driver 2" },
    ...symbols,
    marks: [
      Plot.line(linspace(0, 2 * Math.PI, 90), { x: (t) => 2 * Math.cos(t), y: (t) => 2 * Math.sin(t),
        stroke: colour.slate, strokeOpacity: 0.7 }),
      Plot.ruleX([0], { stroke: colour.rule }),
      Plot.ruleY([0], { stroke: colour.rule }),
      days(codes, group(state)),
    ],
  }),
  label: ({ angle }, { codes }) =>
    `The inferred drivers of ${codes.length} days, turned by ${degrees(angle)} about the centre.`,
};

const degrees = (angle) => `${format((180 / Math.PI) * angle, 0)}°`;

export default figure({
  view,
  panels: [seen, hidden],
  controls: [
    { slider: "angle", label: "turn of the matrix", min: -Math.PI, max: Math.PI, format: degrees },
    { play: "Turn", step: null, every: 40,
      advance: ({ angle }) => (angle < Math.PI - 0.05 ? { angle: angle + 0.05 } : null) },
  ],
  numbers: ({ data }, { weight, logP }) => [
    ["average log p(x) of these days", `${format(logP.reduce((sum, v) => sum + v, 0) / logP.length, 6)} nats`],
    [`driver 1 is set to 2: mean ${data.names[0]}`, format(2 * weight[data.shown[0]][0], 1)],
    [`driver 1 is set to 2: mean ${data.names[1]}`, format(2 * weight[data.shown[1]][0], 1)],
  ],
});
