// Peaks on levels: a mixture of logistics with one peak on each level of a pixel. The reader makes
// the peaks narrow, and sees the bits of a density, of the same density when noise fills the steps,
// and of probabilities of levels.

const { Plot, clamp, colour, figure, format, latest, linspace, list, once, word } = vaebookLive;

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const N_NOISES = 16;
const noises = linspace(0.5 / N_NOISES - 0.5, 0.5 - 0.5 / N_NOISES, N_NOISES);

/** Levels that occur, and how often: shares that add up to 1. */
export const levels = once((counts) => {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return counts.map((count, level) => ({ level, share: count / total }))
    .filter(({ share }) => share > 0);
});

/** Sum over the peaks that can be felt at x. */
function overPeaks(counts, width, x, value) {
  const reach = Math.max(1, 20 * width), peaks = levels(counts);
  let sum = 0;
  for (const { level, share } of peaks)
    if (Math.abs(x - level) <= reach) sum += share * value((x - level) / width);
  return sum;
}

/** Density at x, for levels a distance of 1 apart. */
export const density = (counts, width, x) =>
  overPeaks(counts, width, x, (u) => Math.exp(-Math.abs(u)) / (width * (1 + Math.exp(-Math.abs(u))) ** 2));

/** Probability of a level: the mass nearer to it than to another; the ends are open. */
export function mass(counts, width, level) {
  const half = 0.5 / width;
  return overPeaks(counts, width, level, (u) =>
    (level === counts.length - 1 ? 1 : sigmoid(u + half)) - (level === 0 ? 0 : sigmoid(u - half)));
}

/** Average bits of the density at the levels, of that at levels with noise, of the probabilities. */
export function bits(counts, width) {
  const average = (f) =>
    levels(counts).reduce((sum, { level, share }) => sum - share * Math.log2(f(level)), 0);
  const noisy = noises.reduce(
    (sum, noise) => sum + average((level) => density(counts, width, level + noise)), 0) / N_NOISES;
  return {
    bare: average((level) => density(counts, width, level)),
    noisy,
    levels: average((level) => mass(counts, width, level)),
  };
}

/** Bits of the shares themselves, below which no probabilities of levels get. */
export const entropy = (counts) =>
  levels(counts).reduce((sum, { share }) => sum - share * Math.log2(share), 0);

const WIDTHS = [0.001, 2]; // below 0.0007 the density between two levels would round to 0
const tried = linspace(...WIDTHS.map(Math.log), 41).map(Math.exp);
const CURVES = [
  ["bare", "density at the levels", colour.vermilion, "7 4"],
  ["noisy", "density, with noise added", colour.gold, "2 3"],
  ["levels", "probability of the levels", colour.blue, "none"],
];
const curves = once((counts) => tried.map((width) => ({ width, ...bits(counts, width) })));

// Eight levels around the most frequent one.
const shown = once((counts) => {
  const most = counts.indexOf(Math.max(...counts));
  const first = clamp(most - 4, [0, counts.length - 8]);
  return [first - 0.5, first + 7.5];
});

/** A width with two digits that say something, however small it is. */
export const sayWidth = (width) => format(width, Math.max(2, 1 - Math.floor(Math.log10(width))));

const view = latest((counts, width) => ({
  now: bits(counts, width), curves: curves(counts), floor: entropy(counts),
}));

const peaks = {
  title: "The density, and the levels that occur",
  height: 260,
  legend: [["density", colour.vermilion, "none"], ["share of each level", colour.slate, "", 7, 0.3]],
  plot: ({ counts, width }) => {
    const [low, high] = shown(counts);
    const bars = levels(counts).filter(({ level }) => level > low && level < high);
    // Evenly spaced points, and more of them around the peaks.
    const around = bars.flatMap(({ level }) => linspace(-8, 8, 41).map((u) => level + u * width));
    const grid = [...linspace(low, high, 161), ...around].filter((x) => x >= low && x <= high)
      .sort((a, b) => a - b);
    const top = 3 * Math.max(...bars.map(({ share }) => share));
    return {
      x: { domain: [low, high], label: "level", ticks: bars.map(({ level }) => level) },
      y: { domain: [0, top], label: "density (cut off above)" },
      marginLeft: 50,
      marks: [
        Plot.rect(bars, { x1: ({ level }) => level - 0.5, x2: ({ level }) => level + 0.5, y1: 0,
          y2: "share", fill: colour.slate, fillOpacity: 0.3, stroke: colour.paper }),
        Plot.line(grid, { x: (x) => x, y: (x) => density(counts, width, x),
          stroke: colour.vermilion, strokeWidth: 2, clip: true }),
        Plot.ruleY([0]),
      ],
    };
  },
  label: ({ counts, width }) => {
    const most = counts.indexOf(Math.max(...counts));
    return `Bars for the shares of eight levels, and a density whose peaks are ${sayWidth(width)} levels ` +
      `wide. At level ${most} it is ${format(density(counts, width, most))} high, and half a level ` +
      `beside it ${format(density(counts, width, most + 0.5))}.`;
  },
};

const price = {
  title: "Bits a number, against the width of the peaks",
  height: 260,
  legend: [...CURVES.map(([, text, stroke, dashes]) => [text, stroke, dashes]),
    ["entropy of the shares", colour.ink, "2 6", 4]],
  plot: ({ width }, { curves: all, floor }) => ({
    x: { type: "log", domain: WIDTHS, label: "width of a peak, levels",
      ticks: [0.001, 0.01, 0.1, 1], tickFormat: String },
    y: { domain: [Math.min(0, ...all.map(({ bare }) => bare)), floor + 2.5], label: null, grid: true },
    marks: [
      Plot.ruleX([width], { stroke: colour.ink }),
      ...CURVES.map(([name, , stroke, strokeDasharray]) => Plot.line(all, {
        x: "width", y: name, stroke, strokeDasharray, strokeWidth: 2.2, clip: true })),
      Plot.ruleY([floor], { stroke: colour.ink, strokeDasharray: "2 6", strokeWidth: 4 }), // on top
    ],
  }),
  label: ({ width }, { now }) =>
    `Three curves of bits. At a width of ${sayWidth(width)} levels they stand at ` +
    list(CURVES.map(([name, text]) => `${format(now[name])} for the ${text}`)) + word("."),
  handles: [{
    label: "Width",
    x: ({ width }) => width,
    move: (_, width) => ({ width: clamp(width, WIDTHS) }),
    text: ({ width }) => `${sayWidth(width)} levels`,
  }],
};

export default figure({
  view: ({ counts, width }) => view(counts, width),
  panels: [peaks, price],
  controls: [
    { slider: "width", label: "width of a peak, levels", min: Math.log(WIDTHS[0]),
      max: Math.log(WIDTHS[1]), get: ({ width }) => Math.log(width),
      set: (_, log) => ({ width: Math.exp(log) }), format: (log) => sayWidth(Math.exp(log)) },
    { play: "Make them narrower", every: 120, advance: ({ width }) =>
      (width > WIDTHS[0] ? { width: Math.max(WIDTHS[0], width / 1.15) } : null) },
  ],
  numbers: (_, { now, floor }) => [
    ...CURVES.map(([name, text]) => [text, `${format(now[name])} bits`]),
    ["entropy of the shares", `${format(floor)} bits`],
  ],
});
