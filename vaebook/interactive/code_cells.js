// The nearest of a list of vectors, and the direction that the straight-through estimator makes up.

const { Plot, colour, figure, format } = vaebookLive;

const EDGE = 3;
const RATE = 0.04;
const LONGEST = 150; // strides of a walk

const squared = ([a, b], [c, d]) => (a - c) ** 2 + (b - d) ** 2;

/** Index of the vector nearest to z. */
export const nearest = (z, vectors) => {
  const distances = vectors.map((vector) => squared(z, vector));
  return distances.indexOf(Math.min(...distances));
};

/** Squared distance of the vector that stands for z from the target. */
export const loss = (z, vectors, target) => squared(vectors[nearest(z, vectors)], target);

/** What is handed to z: the slope at its vector, and the pull of the commitment. */
export const straightThrough = (z, vectors, target, commitment) => {
  const vector = vectors[nearest(z, vectors)];
  return [0, 1].map((i) => 2 * (vector[i] - target[i]) + 2 * commitment * (z[i] - vector[i]));
};

/** Corners of all that is nearest to vector k within a square: cut by the half-way line to each other. */
export function cell(k, vectors, edge = EDGE) {
  let corners = [[-edge, -edge], [edge, -edge], [edge, edge], [-edge, edge]];
  for (const other of vectors) {
    if (other === vectors[k]) continue;
    const beyond = (point) => squared(point, vectors[k]) - squared(point, other); // above 0: cut off
    corners = corners.flatMap((from, i) => {
      const to = corners[(i + 1) % corners.length];
      const [start, end] = [beyond(from), beyond(to)];
      const kept = start <= 0 ? [from] : [];
      if (start * end >= 0) return kept;
      const share = start / (start - end);
      return [...kept, [0, 1].map((axis) => from[axis] + share * (to[axis] - from[axis]))];
    });
  }
  return corners;
}

function walk(state) {
  const { z, vectors, target, commitment, path } = state;
  if (path.length >= LONGEST || Math.max(...z.map(Math.abs)) > EDGE) return null;
  const slope = straightThrough(z, vectors, target, commitment);
  const next = z.map((value, i) => value - RATE * slope[i]);
  return squared(next, z) < 1e-8 ? null : { z: next, path: [...path, next] };
}

const placed = (changes, z) => ({ ...changes, path: [z] });
const inside = (point) => point.map((value) => Math.min(Math.max(value, -EDGE), EDGE));

const plane = {
  height: (width) => Math.min(width, 400),
  legend: [
    ["where straight-through sends z", colour.vermilion],
    ["from z to its vector", colour.slate, "3 3"],
  ],
  plot: ({ z, vectors, target, commitment, path }) => {
    const own = nearest(z, vectors);
    const slope = straightThrough(z, vectors, target, commitment);
    // Without commitment, as long as the way from its vector to the target.
    const tip = z.map((value, i) => value - 0.5 * slope[i]);
    const shown = inside(z);
    return {
      x: { domain: [-EDGE, EDGE], label: null, ticks: 5 },
      y: { domain: [-EDGE, EDGE], label: null, ticks: 5 },
      r: { type: "identity" },
      marks: [
        ...vectors.map((_, k) => {
          const corners = cell(k, vectors);
          return Plot.line([...corners, corners[0]], { x: "0", y: "1", stroke: colour.rule,
            fill: k === own ? colour.gold : "none", fillOpacity: 0.22 });
        }),
        Plot.line(path, { x: "0", y: "1", stroke: colour.blue, strokeWidth: 1.4, clip: true }),
        Plot.link([0], { x1: shown[0], y1: shown[1], x2: vectors[own][0], y2: vectors[own][1],
          stroke: colour.slate, strokeDasharray: "3 3" }),
        Plot.text(vectors, { x: "0", y: "1", text: (_, k) => String(k + 1), dx: 17,
          fill: colour.ink, fontWeight: "bold" }),
        Plot.text([target], { x: "0", y: "1", text: ["target"], dy: -17, fill: colour.teal,
          fontWeight: "bold" }),
        Plot.text([shown], { x: "0", y: "1", text: ["z"], dy: -16, fill: colour.blue,
          fontWeight: "bold" }),
        Plot.arrow([0], { x1: z[0], y1: z[1], x2: tip[0], y2: tip[1], stroke: colour.vermilion,
          strokeWidth: 2.4, headLength: 9, insetStart: 8, clip: true }),
      ],
    };
  },
  label: ({ z, vectors, target }) =>
    `A plane in ${vectors.length} cells, each around its vector. z lies in cell ` +
    `${nearest(z, vectors) + 1}; the loss there is ${format(loss(z, vectors, target))}.`,
  handles: ({ z: now, vectors }) => [
    { label: "z, the encoder's answer", x: ({ z }) => inside(z)[0], y: ({ z }) => inside(z)[1],
      move: (_, x, y) => placed({ z: [x, y] }, [x, y]), colour: colour.blue },
    { label: "Target", x: ({ target }) => target[0], y: ({ target }) => target[1],
      move: ({ z }, x, y) => placed({ target: [x, y] }, z), colour: colour.teal },
    ...vectors.map((_, k) => ({
      label: `Vector ${k + 1}`,
      colour: k === nearest(now, vectors) ? colour.gold : colour.slate,
      x: (state) => state.vectors[k][0],
      y: (state) => state.vectors[k][1],
      move: ({ z, vectors: all }, x, y) =>
        placed({ vectors: all.map((vector, i) => (i === k ? [x, y] : vector)) }, z),
    })),
  ],
};

const history = {
  height: 260,
  title: "Loss on the way of z",
  legend: [["least loss of any vector", colour.teal, "2 3"]],
  plot: ({ path, vectors, target }) => ({
    x: { domain: [0, Math.max(20, path.length)], label: "stride", ticks: 5 },
    y: { domain: [0, Math.max(4, ...vectors.map((v) => squared(v, target)))], label: null, ticks: 5 },
    marks: [
      Plot.line(path, { x: (_, i) => i, y: (z) => loss(z, vectors, target), stroke: colour.blue,
        curve: "step-after" }),
      Plot.dot(path.slice(-1), { x: path.length - 1, y: (z) => loss(z, vectors, target), r: 4,
        fill: colour.blue }),
      Plot.ruleY([Math.min(...vectors.map((v) => squared(v, target)))],
        { stroke: colour.teal, strokeDasharray: "2 3" }),
      Plot.ruleY([0]),
    ],
  }),
  label: ({ path, vectors, target }) =>
    `Loss after ${path.length - 1} strides: ${format(loss(path.at(-1), vectors, target))}. ` +
    "A dotted line marks the least that any vector has.",
};

const pair = ([a, b]) => `(${format(a)}, ${format(b)})`;

export default figure({
  panels: [plane, history],
  controls: [
    { slider: "commitment", label: "weight β of the commitment", min: 0, max: 2, step: 0.05 },
    { play: "Play", advance: walk, every: 60 },
  ],
  numbers: ({ z, vectors, target, commitment }) => [
    ["loss: squared distance of the vector from the target", format(loss(z, vectors, target))],
    ["true gradient of the loss in z", "(0, 0)"],
    ["what straight-through and the commitment give instead",
      pair(straightThrough(z, vectors, target, commitment))],
  ],
  describe: ({ z, vectors, path }) => {
    const own = nearest(z, vectors) + 1;
    if (Math.max(...z.map(Math.abs)) > EDGE)
      return `z has left the picture; vector ${own} still stands for it, and never followed.`;
    const crossed = path.slice(1).filter((point, i) =>
      nearest(point, vectors) !== nearest(path[i], vectors)).length;
    return `Vector ${own} stands for z. ` +
      `Walls that z crossed on its way: ${crossed}.`;
  },
});
