// A kernel density estimate of one number: a bump on each datum, and their sum. The reader moves
// the bandwidth h, and sees what it does to the data themselves and to data held out.

const { Plot, clamp, colour, figure, format, linspace, list, logNormal, logSumExp, nats,
  normal, once, word } = vaebookLive;

const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Log-density at x under kernels of width h on the data. */
export const logDensity = (x, data, h) =>
  logSumExp(data.map((datum) => logNormal(x, datum, h))) - Math.log(data.length);

/** Mean log-density of the data under their own estimate, of the held-out, and of each datum under
 * the kernels of the others, in nats. */
export const scores = ({ data, held_out }, h) => ({
  training: average(data.map((x) => logDensity(x, data, h))),
  others: average(data.map((x, n) => logDensity(x, data.toSpliced(n, 1), h))),
  heldOut: average(held_out.map((x) => logDensity(x, data, h))),
});

const WIDTHS = [0.02, 2];
const tried = linspace(...WIDTHS.map(Math.log), 61).map(Math.exp);
const CURVES = [
  ["training", "the data themselves", colour.vermilion, "7 4"],
  ["others", "each datum under the others", colour.teal, "2 3"],
  ["heldOut", "data held out", colour.blue, "none"],
];

// They depend on the data alone, which stay the same while h moves.
const curves = once((data) => once((held_out) =>
  tried.map((h) => ({ h, ...scores({ data, held_out }, h) }))));

const view = (state) => ({
  now: scores(state, state.h),
  curves: curves(state.data)(state.held_out),
});

const shown = once((data) => {
  const [low, high] = [Math.min(...data), Math.max(...data)], margin = 0.35 * (high - low);
  return linspace(low - margin, high + margin, 181);
});

const bumps = {
  title: "A bump on each datum, and their sum",
  height: 280,
  plot: ({ data, h, unit }) => {
    const grid = shown(data), sum = grid.map((x) => ({ x, y: Math.exp(logDensity(x, data, h)) }));
    // Of each bump only the part that can be seen.
    const each = data.flatMap((datum, n) => linspace(datum - 3 * h, datum + 3 * h, 25)
      .map((x) => ({ n, x, y: normal(x, datum, h) / data.length })));
    const top = Math.max(0.5, ...sum.map(({ y }) => y));
    return {
      x: { domain: [grid[0], grid.at(-1)], label: unit },
      y: { domain: [-0.09 * top, top], label: "density" },
      marks: [
        Plot.areaY(sum, { x: "x", y: "y", fill: colour.blue, fillOpacity: 0.15 }),
        Plot.line(each, { x: "x", y: "y", z: "n", stroke: colour.slate, strokeWidth: 0.7,
          clip: true }),
        Plot.line(sum, { x: "x", y: "y", stroke: colour.blue, strokeWidth: 2.2 }),
        Plot.ruleY([0]),
        Plot.ruleX(data, { x: (x) => x, y1: -0.08 * top, y2: 0, stroke: colour.vermilion,
          strokeOpacity: 0.7 }),
      ],
    };
  },
  label: ({ data, h }) =>
    `${data.length} data, a bump of width ${format(h)} on each, and the sum of the bumps.`,
};

const choosing = {
  title: "Mean log-density, in nats",
  height: 260,
  legend: CURVES.map(([, text, stroke, dashes]) => [text, stroke, dashes]),
  plot: ({ h }, view) => ({
    x: { type: "log", domain: WIDTHS, label: "bandwidth h", ticks: [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2],
      tickFormat: String },
    y: { domain: [-3, 0], label: null },
    marks: [
      Plot.ruleX([h], { stroke: colour.ink }),
      ...CURVES.map(([name, , stroke, strokeDasharray]) => Plot.line(view.curves, {
        x: "h", y: name, stroke, strokeDasharray, strokeWidth: 2.2, clip: true,
      })),
    ],
  }),
  label: ({ h }, { now }) =>
    `Three curves against the bandwidth. At ${format(h)} they stand at ` +
    list(CURVES.map(([name, text]) => `${format(now[name])} for ${text}`)) + word("."),
  handles: [{
    label: "Bandwidth",
    x: ({ h }) => h,
    y: (_, { now }) => now.heldOut,
    move: (_, h) => ({ h: clamp(h, WIDTHS) }),
    text: ({ h }) => `h = ${format(h)}`,
  }],
};

const bestWidth = (curves, name) => curves.reduce((a, b) => (b[name] > a[name] ? b : a)).h;
export default figure({
  view,
  panels: [bumps, choosing],
  controls: [
    { slider: "h", label: "bandwidth h", min: Math.log(WIDTHS[0]), max: Math.log(WIDTHS[1]),
      get: ({ h }) => Math.log(h), set: (_, logH) => ({ h: Math.exp(logH) }),
      format: (logH) => format(Math.exp(logH)) },
    { button: "Best for data held out", press: (_, { curves }) => ({ h: bestWidth(curves, "heldOut") }) },
    { button: "Best for each under the others",
      press: (_, { curves }) => ({ h: bestWidth(curves, "others") }) },
  ],
  numbers: (_, { now }) =>
    CURVES.map(([name, text]) => [`mean log-density: ${text}`, nats(now[name], 2)]),
});
