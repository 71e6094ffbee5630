// A permutation test at work: the two samples are mixed and dealt out again, and each time their
// energy distance goes into the histogram. The p-value counts those at least as large.

const { Plot, colour, figure, format, linspace, once, random, word } = vaebookLive;

/** All distances between the points of a list, row by row. */
export const distances = once((points) =>
  points.map(([a, b]) => Float64Array.from(points, ([c, d]) => Math.hypot(a - c, b - d))));

/** Energy distance of the points with a 1 in `first` from those with a 0: minus the quadratic form
 * w' D w, with the weight 1 / n for each point of the one sample and -1 / m for the other. */
export function energy(D, first) {
  const n = first.reduce((sum, one) => sum + one, 0);
  const weight = first.map((one) => (one ? 1 / n : -1 / (first.length - n)));
  let form = 0;
  for (let i = 0; i < D.length; i++)
    for (let j = 0; j < i; j++) form += 2 * weight[i] * weight[j] * D[i][j];
  return -form;
}

/** Ones and zeros in a random order, by the seed. */
export function deal(first, seed) {
  const { uniform } = random(seed);
  const dealt = first.slice();
  for (let i = dealt.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [dealt[i], dealt[j]] = [dealt[j], dealt[i]];
  }
  return dealt;
}

/** Share of all ways to deal, the one observed among them, whose distance is at least as large. */
export const pValue = (observed, others) =>
  (1 + others.filter((other) => other >= observed * (1 - 1e-6)).length) / (1 + others.length);

// The first n points of each sample, and which of them are of the first.
const pool = once((samples) => {
  const known = {};
  return (other, n) => (known[`${other} ${n}`] ??= {
    points: [...samples.data.slice(0, n), ...samples[other].slice(0, n)],
    first: Array.from({ length: 2 * n }, (_, i) => Number(i < n)),
  });
});

function view({ samples, other, n, shuffled }) {
  const { points, first } = pool(samples)(other, n);
  const observed = energy(distances(points), first);
  const B = shuffled.length;
  return { points, first, observed, p: pValue(observed, shuffled),
    dealt: B ? deal(first, B) : first };
}

const MOST = 999;

function advance({ shuffled }, { points, first }) {
  if (shuffled.length >= MOST) return null;
  const more = shuffled.slice();
  const some = shuffled.length < 20 ? 1 : 7; // slowly at first
  for (let i = 0; i < some && more.length < MOST; i++)
    more.push(energy(distances(points), deal(first, more.length + 1)));
  return { shuffled: more };
}

const side = (width) => Math.min(width, 312) - 12; // of the square of points

const plane = {
  height: (width) => side(width) + 12,
  title: "the two samples, as dealt out now",
  legend: [["first: dots", colour.blue, "dot"], ["second: triangles", colour.vermilion, "triangle"]],
  plot: (_, { points, dealt }, width) => ({
    x: { domain: [-5.5, 5.5], axis: null },
    y: { domain: [-5.5, 5.5], axis: null },
    marginTop: 6, marginBottom: 6,
    marginLeft: (width - side(width)) / 2, marginRight: (width - side(width)) / 2,
    marks: [
      Plot.frame({ stroke: colour.rule }),
      Plot.dot(points, { x: "0", y: "1", r: 3, clip: true,
        symbol: (_, i) => (dealt[i] ? "circle" : "triangle"),
        fill: (_, i) => (dealt[i] ? colour.blue : colour.vermilion) }),
    ],
    symbol: { domain: ["circle", "triangle"], range: ["circle", "triangle"] },
  }),
  label: ({ shuffled, n }) =>
    `Two samples of ${n} points each, ` +
    (shuffled.length ? `dealt out for the ${shuffled.length}th time.` : "as they were observed."),
};

const BINS = 40;

const histogram = {
  height: 300,
  title: "energy distances; the line is the observed one",
  plot: ({ shuffled }, { observed }) => {
    const end = 1.15 * Math.max(observed, ...shuffled, 0.02);
    const edges = linspace(0, end, BINS + 1);
    const counts = edges.slice(1).map(() => 0);
    for (const value of shuffled) counts[Math.min(BINS - 1, Math.floor((value / end) * BINS))]++;
    return {
      x: { domain: [0, end], label: "energy distance", ticks: 5 },
      y: { domain: [0, Math.max(5, ...counts)], label: null, ticks: 4 },
      marks: [
        Plot.rect(counts, { x1: (_, i) => edges[i], x2: (_, i) => edges[i + 1], y1: 0,
          y2: (count) => count, insetLeft: 0.5, insetRight: 0.5,
          fill: (_, i) => (edges[i + 1] > observed ? colour.gold : colour.slate) }),
        Plot.ruleX([observed], { stroke: colour.vermilion, strokeWidth: 3 }),
        Plot.ruleY([0]),
      ],
    };
  },
  label: ({ shuffled }, { observed, p }) =>
    `Histogram of ${shuffled.length} energy distances; the observed one, ${format(observed, 3)}, ` +
    `is marked. The p-value is ${format(p, 3)}.`,
};

const anew = { shuffled: [] };

export default figure({
  view,
  panels: [plane, histogram],
  controls: ({ samples, sizes, names }) => [
    { play: "Play", advance, every: 60 },
    { choice: "other", label: "second sample", options: Object.keys(samples)
      .filter((name) => name !== "data").map((name) => [name, names[name]]),
      set: (_, other) => ({ other, ...anew }) },
    { slider: "n", label: "points in each sample", values: sizes, format: String,
      set: (_, n) => ({ n, ...anew }) },
  ],
  numbers: ({ shuffled }, { observed, p }) => [
    ["observed energy distance", format(observed, 3)],
    ["times dealt", String(shuffled.length)],
    ["of them at least as large", String(Math.round(p * (1 + shuffled.length)) - 1)],
    [word("p-value"), format(p, 3)],
  ],
});
