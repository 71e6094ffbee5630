// Two ways between the codes of two digits, a straight line and an arc: the images on both, what a
// judge makes of them, and how far from the centre of the codes each way leads.

const { Plot, colour, figure, format, rows, word } = vaebookLive;

/** Squared lengths of the points on both ways, from the products a·a, a·b and b·b of their ends. */
export function squaredLengths([aa, ab, bb], s) {
  const mix = (u, v) => u * u * aa + 2 * u * v * ab + v * v * bb;
  const angle = (Math.PI / 2) * s;
  return { line: mix(1 - s, s), arc: mix(Math.cos(angle), Math.sin(angle)) };
}

/** Distances from the centre, as multiples of what is usual for a code of this dimension. */
export function distances(products, s, dimension) {
  const { line, arc } = squaredLengths(products, s);
  return { line: Math.sqrt(line / dimension), arc: Math.sqrt(arc / dimension) };
}

const WAYS = [["line", colour.vermilion, "7 4"], ["arc", colour.teal, "none"]];

// Images lie in the order of pairs, ways and steps.
const imageAt = ({ data, pair }, way, step) =>
  rows(data.images)[(pair * 2 + way) * data.n_steps + step];

const verdictAt = ({ data, pair }, way, step) => ({
  confidence: data.confidence[pair][way][step],
  name: data.names[pair][way][step],
});

const accepted = ({ data }, { confidence }) => confidence >= data.threshold;
const say = (state, verdict) =>
  accepted(state, verdict) ? `accepted as a ${verdict.name}` : `not accepted; nearest a ${verdict.name}`;

const pictures = {
  wide: true,
  size: "150px",
  pictures: (state) => WAYS.map(([name], way) => {
    const verdict = verdictAt(state, way, state.step);
    return {
      pixels: imageAt(state, way, state.step),
      width: state.data.side,
      text: `${name}: ${say(state, verdict)}`,
      label: `The image on the ${name} at step ${state.step}: ${say(state, verdict)}.`,
    };
  }),
};

const shareAt = ({ data }, step) => step / (data.n_steps - 1);

function curves(values, domain, label, rule, ruleText) {
  return (state) => {
    const steps = Array.from({ length: state.data.n_steps }, (_, step) => step);
    const level = rule(state);
    return {
      x: { domain: [0, 1], label: "share of the way", ticks: 5 },
      y: { domain, label, ticks: 4 },
      marks: [
        Plot.ruleX([shareAt(state, state.step)], { stroke: colour.rule, strokeWidth: 3 }),
        Plot.ruleY([level], { stroke: colour.slate, strokeDasharray: "2 3" }),
        Plot.text([level], { x: 1, y: level, text: [ruleText], dy: 11, textAnchor: "end", fill: colour.slate,
          stroke: colour.paper, strokeWidth: 5, paintOrder: "stroke" }),
        ...WAYS.flatMap(([, hue, dashes], way) => [
          Plot.line(steps, { x: (step) => shareAt(state, step), y: (step) => values(state, way, step),
            stroke: hue, strokeWidth: 2.2, strokeDasharray: dashes }),
          Plot.dot([state.step], { x: (step) => shareAt(state, step),
            y: (step) => values(state, way, step), fill: hue, r: 5, symbol: way ? "square" : "circle" }),
        ]),
      ],
    };
  };
}

const distanceAt = (state, way, step) =>
  distances(state.data.products[state.pair], shareAt(state, step), state.data.dimension)[
    way ? "arc" : "line"];

const far = {
  height: 220,
  title: "Distance from the centre of all codes",
  legend: [["line", colour.vermilion, "7 4"], ["arc", colour.teal]],
  plot: curves(distanceAt, [0, 1.6], "usual distances", () => 1, word("usual")),
  label: (state) =>
    `The distance along both ways. Here it is ${format(distanceAt(state, 0, state.step))} on the line and ` +
    `${format(distanceAt(state, 1, state.step))} on the arc, in units of the usual one.`,
};

const sure = {
  height: 220,
  title: "The judge's confidence in some digit",
  legend: [["line", colour.vermilion, "7 4"], ["arc", colour.teal]],
  plot: curves((state, way, step) => verdictAt(state, way, step).confidence, [0, 1.05], word("confidence"),
    ({ data }) => data.threshold, "accepted from here on"),
  label: (state) =>
    `The confidence along both ways. Here it is ${format(verdictAt(state, 0, state.step).confidence)} on ` +
    `the line and ${format(verdictAt(state, 1, state.step).confidence)} on the arc; accepted from ` +
    `${format(state.data.threshold)} on.`,
};

export default figure({
  panels: [pictures, far, sure],
  controls: ({ data }) => [
    { slider: "step", label: "share of the way", min: 0, max: data.n_steps - 1, step: 1,
      format: (step) => format(step / (data.n_steps - 1)) },
    { choice: "pair", label: "from and to", options: data.labels.map((label, i) => [i, label]) },
    { play: "Walk", step: null, every: 150,
      advance: ({ step }) => (step < data.n_steps - 1 ? { step: step + 1 } : null) },
    { button: "Back to the start", press: () => ({ step: 0 }) },
  ],
});
