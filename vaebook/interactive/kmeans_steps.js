// K-means in slow motion: two steps in turn, and the sum J of squared distances that neither raises.

const { Plot, colour, figure, format, random } = vaebookLive;

const squared = ([a, b], [c, d]) => (a - c) ** 2 + (b - d) ** 2;

/** For each point, the index of its nearest centre. */
export const assign = (points, centres) => points.map((point) => {
  const distances = centres.map((centre) => squared(point, centre));
  return distances.indexOf(Math.min(...distances));
});

/** For each group the mean of its points; an empty group keeps its centre. */
export const means = (points, groups, centres) => centres.map((centre, k) => {
  const own = points.filter((_, n) => groups[n] === k);
  const mean = (axis) => own.reduce((sum, point) => sum + point[axis], 0) / own.length;
  return own.length ? [mean(0), mean(1)] : centre;
});

/** Sum over the points of the squared distance to the centre of their group. */
export const cost = (points, groups, centres) =>
  points.reduce((sum, point, n) => sum + squared(point, centres[groups[n]]), 0);

const same = (one, other) => one.length === other.length &&
  one.every((value, i) => String(value) === String(other[i]));

// Groups and centres in turn. The end is reached when new groups are the old ones.
function advance(state) {
  const { points, centres, groups, costs, moving } = state;
  const next = moving
    ? { centres: means(points, groups, centres), groups }
    : { centres, groups: assign(points, centres) };
  if (!moving && same(groups, next.groups)) return null;
  return { ...next, moving: !moving, costs: [...costs, cost(points, next.groups, next.centres)] };
}

const begin = (centres) => ({ centres, groups: [], costs: [], moving: false });

function chooseCentres({ points, centres, seed }) {
  const { uniform } = random(seed + 1);
  const left = points.slice();
  const chosen = centres.map(() => left.splice(Math.floor(uniform() * left.length), 1)[0]);
  return { ...begin(chosen), seed: seed + 1 };
}

const HUES = ["blue", "vermilion", "teal", "gold", "plum", "slate"];
const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "star"];
const ofGroup = (list, k) => (k === undefined ? list.at(-1) : list[k % list.length]);

const plane = {
  height: (width) => Math.min(width, 380),
  plot: ({ points, groups, centres, extent }) => ({
    x: { domain: [-extent, extent], label: null, ticks: 5 },
    y: { domain: [-extent, extent], label: null, ticks: 5 },
    marks: [
      Plot.frame({ stroke: colour.rule }),
      groups.length ? Plot.link(points, { x1: "0", y1: "1", x2: (_, n) => centres[groups[n]][0],
        y2: (_, n) => centres[groups[n]][1], stroke: colour.rule, strokeOpacity: 0.7 }) : null,
      Plot.dot(points, { x: "0", y: "1", r: 2.6,
        fill: (_, n) => colour[groups.length ? ofGroup(HUES, groups[n]) : "slate"],
        symbol: (_, n) => (groups.length ? ofGroup(SYMBOLS, groups[n]) : "circle") }),
    ],
    symbol: { range: SYMBOLS, domain: SYMBOLS },
  }),
  label: ({ points, centres, groups }) =>
    `${points.length} points and ${centres.length} centres, ` +
    (groups.length ? "each point joined to the centre of its group." : "not yet in groups."),
  handles: ({ centres }) => centres.map((_, k) => ({
    label: `Centre ${k + 1}`,
    x: (state) => state.centres[k][0],
    y: (state) => state.centres[k][1],
    move: (state, x, y) => begin(state.centres.map((c, i) => (i === k ? [x, y] : c))),
  })),
};

const descent = {
  height: 260,
  title: "J after each step: full dots, new groups; open dots, new centres",
  plot: ({ costs, best, points, moving }) => {
    const steps = costs.map((J, i) => [i + 1, J]);
    const top = Math.max(costs[0] ?? 0, 3 * best);
    return {
      x: { domain: [0, Math.max(12, costs.length)], label: "step", ticks: 6 },
      y: { domain: [0, top], label: null },
      marginLeft: 45,
      marks: [
        Plot.ruleY([best], { stroke: colour.slate, strokeDasharray: "2 3" }),
        Plot.text([best], { y: (v) => v, text: ["best known"], frameAnchor: "right", dy: 9,
          textAnchor: "end", fill: colour.slate }),
        Plot.line(steps, { x: "0", y: "1", stroke: colour.blue }),
        Plot.dot(steps, { x: "0", y: "1", r: 4, stroke: colour.blue,
          fill: ([i]) => (i % 2 ? colour.blue : colour.paper) }),
        Plot.ruleY([0]),
      ],
    };
  },
  label: ({ costs }) => costs.length
    ? `J after ${costs.length} steps is ${format(costs.at(-1), 1)}; it began at ${format(costs[0], 1)}.`
    : "No step yet.",
};

function describe(state) {
  const { costs, best, moving } = state;
  if (costs.length === 0) return "No groups yet: drag the centres, or step.";
  const J = format(costs.at(-1), 1);
  if (advance(state) !== null)
    return moving
      ? `J is ${J}. Next: each centre goes to the mean of its group.`
      : `J is ${J}. Next: new groups.`;
  return costs.at(-1) > 1.01 * best
    ? `Stopped at J = ${J}, where the best known is ${format(best, 1)}: no step leads on from here.`
    : `Stopped at J = ${J}, the best known.`;
}

export default figure({
  panels: [plane, descent],
  controls: [
    { play: "Play", advance, every: 700 },
    { button: "New centres", press: chooseCentres },
  ],
  describe,
});
