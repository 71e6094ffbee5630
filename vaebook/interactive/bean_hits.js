// Throws at a cube with a ball in its middle: how the share of hits falls with the dimension.

const { Plot, colour, figure, format, linspace, random, word } = vaebookLive;

const N_THROWS = 500;

/** Logarithm of the share of a unit cube that a ball of this radius fills. */
export function logHitRate(d, radius) {
  // The volume of the unit ball: V(0) = 1, V(1) = 2, V(d) = V(d - 2) 2 pi / d.
  let log = d % 2 ? Math.log(2) : 0;
  for (let n = d % 2 ? 3 : 2; n <= d; n += 2) log += Math.log((2 * Math.PI) / n);
  return log + d * Math.log(radius);
}

/** Throws that give an even chance of at least one hit. */
export const throwsForOne = (d, radius) =>
  Math.ceil(Math.log(0.5) / Math.log1p(-Math.min(Math.exp(logHitRate(d, radius)), 1 - 1e-12)));

/** Distances of uniform throws at the unit cube from its middle. */
export function distances(d, seed) {
  const { uniform } = random(seed);
  return Array.from({ length: N_THROWS }, () =>
    Math.sqrt(Array.from({ length: d }, () => (uniform() - 0.5) ** 2).reduce((a, b) => a + b, 0)));
}

const LARGEST = 50;
let kept = [];
function throwsOf({ d, seed }) {
  if (kept[0] !== d || kept[1] !== seed) kept = [d, seed, distances(d, seed)];
  return kept[2];
}

function view(state) {
  const far = throwsOf(state);
  return { far, hits: far.filter((r) => r <= state.radius).length };
}

// A direction for each throw, the same whatever the dimension.
const GOLDEN = Math.PI * (3 - Math.sqrt(5));
const place = (r, i) => [r * Math.cos(GOLDEN * i), r * Math.sin(GOLDEN * i)];
const circle = linspace(0, 2 * Math.PI, 90);
// The picture grows with the typical distance, so that all throws stay in it and the bean shrinks.
const reach = (d) => Math.max(0.75, 1.25 * Math.sqrt(d / 12) + 0.1);
const tall = (width) => Math.min(width, 330);
const MARGIN = 4; // on all sides, so that the bean is round

const board = {
  title: "Throws, by their distance from the middle",
  height: tall,
  // One square for a hit, small dots for misses, as in the picture.
  legend: [["the bean", colour.gold], ["hit", colour.vermilion, "0 11 6 11", 6],
    ["miss", colour.blue, "dot"]],
  plot: ({ d, radius }, { far }, width) => {
    const up = reach(d), across = (up * (width - 2 * MARGIN)) / (tall(width) - 2 * MARGIN);
    const points = far.map((r, i) => ({ r, at: place(r, i) }));
    const dots = (those, options) => Plot.dot(those, { x: ({ at }) => at[0], y: ({ at }) => at[1], ...options });
    return {
      x: { domain: [-across, across], axis: null },
      y: { domain: [-up, up], axis: null },
      margin: MARGIN,
      marginBottom: MARGIN,
      marks: [
        Plot.line(circle, { x: (t) => radius * Math.cos(t), y: (t) => radius * Math.sin(t),
          fill: colour.gold, fillOpacity: 0.25, stroke: colour.gold, strokeWidth: 2 }),
        dots(points.filter(({ r }) => r > radius), { r: 1.6, fill: colour.blue, fillOpacity: 0.6 }),
        dots(points.filter(({ r }) => r <= radius), { r: 2.4, fill: colour.vermilion, symbol: "square" }),
        Plot.text([d], { x: 0, y: -up, dy: -10, text: (n) => `${n} dimensions` }),
      ],
    };
  },
  label: ({ d, radius }, { far, hits }) =>
    `The bean as a disc of radius ${format(radius)}, and ${N_THROWS} throws in ${d} dimensions, each at its ` +
    `distance from the middle, on average ${format(far.reduce((a, b) => a + b, 0) / far.length)}; ${hits} hit.`,
};

const LEAST = 1e-30;
const dimensions = Array.from({ length: LARGEST }, (_, i) => i + 1);
const rates = {
  title: "Chance of a hit",
  height: tall,
  plot: ({ d, radius }) => ({
    x: { domain: [1, LARGEST], label: "dimensions" },
    y: { type: "log", domain: [LEAST, 1], label: "chance", ticks: 5, tickFormat: (p) =>
      `1e${format(Math.log10(p), 0)}` },
    marginLeft: 52,
    marks: [
      Plot.line(dimensions, { x: (n) => n, y: (n) => Math.exp(logHitRate(n, radius)),
        stroke: colour.blue, strokeWidth: 2.2, clip: true }),
      Plot.dot([d], { x: (n) => n, y: (n) => Math.max(Math.exp(logHitRate(n, radius)), LEAST), r: 6,
        fill: colour.vermilion, symbol: "square" }),
    ],
  }),
  label: ({ d, radius }) =>
    `The chance of a hit against the dimension, a falling curve on a logarithmic axis; in ${d} dimensions ` +
    `it is ${say(logHitRate(d, radius))}.`,
};

/** A probability as text, also where it is far too small for a decimal number. */
function say(log) {
  if (log > Math.log(1e-4)) return format(Math.exp(log), 4);
  const power = Math.floor(log / Math.LN10);
  return `${format(Math.exp(log - power * Math.LN10), 1)} · 10^${format(power, 0)}`;
}

const whole = (n) => (n < 1e7 ? n.toLocaleString("en") : say(Math.log(n)));

export default figure({
  view,
  panels: [board, rates],
  controls: [
    { slider: "d", label: "dimensions", min: 1, max: LARGEST, step: 1, format: (d) => format(d, 0) },
    { slider: "radius", label: "radius of the bean, in sides of the cube", min: 0.05, max: 0.5 },
    { play: "Add dimensions", every: 250,
      advance: ({ d }) => (d < LARGEST ? { d: d + 1 } : null) },
    { button: "Throw again", press: ({ seed }) => ({ seed: seed + 1 }) },
  ],
  numbers: ({ d, radius }, { hits }) => [
    ["chance of a hit, by the formula", say(logHitRate(d, radius))],
    [word("counted"), word(`${hits} of ${N_THROWS}`)],
    ["throws for an even chance of one hit", whole(throwsForOne(d, radius))],
  ],
});
