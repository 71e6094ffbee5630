// The posterior of a linear hierarchy with two layers, and what three kinds of q can say of it.
// z₂ is one number, z₁ has d units z₂a + noise of variance 1, x is z₁ + noise of deviation σ.

const { Plot, colour, figure, format, linspace, list, nats, word } = vaebookLive;

/** Entries of the posterior's precision: of z₂, between z₂ and a unit of z₁, of a unit of z₁. */
export const precision = ({ strength, noise, units }) => ({
  top: 1 + units * strength ** 2, between: -strength, unit: 1 + noise ** -2,
});

/** Squared multiple correlation of z₂ with z₁, given x. */
export const squaredCorrelation = (state) => {
  const { top, between, unit } = precision(state);
  return (state.units * between ** 2) / (top * unit);
};

/** Nats that the best q of each kind loses. */
export function gaps(state) {
  const r2 = squaredCorrelation(state);
  const apart = -0.5 * Math.log(1 - r2);
  return {
    apart, bottomUp: apart + (state.units / 2) * Math.log(1 - r2 / state.units), topDown: 0,
  };
}

/** [variance of z₂, its covariance with a unit, variance of a unit, covariance of two units]. */
export function covariance(state, q) {
  const { top, between, unit } = precision(state);
  if (q === "apart") return [1 / top, 0, 1 / unit, 0];
  if (q === "bottomUp") {
    const v1 = 1 / (unit - between ** 2 / top), slope = -between / top;
    return [1 / top + state.units * slope ** 2 * v1, slope * v1, v1, 0];
  }
  const v2 = 1 / (top - (state.units * between ** 2) / unit), slope = -between / unit;
  return [v2, slope * v2, 1 / unit + slope ** 2 * v2, slope ** 2 * v2];
}

/** Points so many standard deviations from the origin. */
function ellipse(s11, s12, s22, radius = 2) {
  const l11 = Math.sqrt(s11), l21 = s12 / l11, l22 = Math.sqrt(Math.max(0, s22 - l21 ** 2));
  return linspace(0, 2 * Math.PI, 97).map((t) => [
    radius * l11 * Math.cos(t), radius * (l21 * Math.cos(t) + l22 * Math.sin(t)),
  ]);
}

const NAMES = { apart: "each layer apart", bottomUp: word("bottom-up"), topDown: word("top-down") };
const STRENGTHS = [0, 3], NOISES = [0.3, 3];

const plane = (title, x, y, pick) => ({
  title,
  height: (width) => Math.min(width, 320),
  plot: (state, { exact, chosen }, width) => ({
    width: Math.min(width, 360),
    x: { domain: [-2.6, 2.6], label: x },
    y: { domain: [-2.6, 2.6], label: y },
    marginLeft: 36, marginRight: 12, marginTop: 20,
    marks: [
      ...[2, 1].map((radius) => Plot.line(ellipse(...pick(exact), radius), {
        fill: colour.blue, fillOpacity: 0.18, stroke: colour.blue, strokeWidth: 1, clip: true,
      })),
      Plot.line(ellipse(...pick(chosen)), {
        stroke: colour.vermilion, strokeWidth: 2.4, strokeDasharray: "7 4", clip: true,
      }),
    ],
  }),
  label: ({ q }, { exact, chosen }) => {
    const lean = ([s11, s12, s22]) => format(s12 / Math.sqrt(s11 * s22));
    return `Two ellipses over ${x} and ${y}: the posterior, correlation ${lean(pick(exact))}, and ` +
      `the best q, ${NAMES[q]}, correlation ${lean(pick(chosen))}.`;
  },
});

const bars = {
  wide: true,
  height: 130,
  plot: ({ q }, { lost }, width) => ({
    x: { domain: [0, Math.max(0.8, lost.apart)], label: "nats lost by the best q" },
    y: { domain: Object.values(NAMES), label: null },
    marginLeft: 116, marginRight: 48, marginTop: 8,
    marks: [
      Plot.barX(Object.entries(lost), { x: ([, value]) => value, y: ([key]) => NAMES[key],
        fill: ([key]) => (key === q ? colour.vermilion : colour.slate) }),
      Plot.text(Object.entries(lost), { x: ([, value]) => value, y: ([key]) => NAMES[key],
        text: ([, value]) => format(value, 3), dx: 6, textAnchor: "start", fill: colour.ink }),
      Plot.ruleX([0]),
    ],
  }),
  label: (_, { lost }) => "Nats lost. " +
    list(Object.entries(NAMES).map(([key, name]) => `${name}: ${nats(lost[key])}`)) + word("."),
};

export default figure({
  view: (state) => ({
    exact: covariance(state, "topDown"), chosen: covariance(state, state.q), lost: gaps(state),
  }),
  panels: [
    { ...plane("Two units of z₁", "first unit", "second unit", ([, , v1, c11]) => [v1, c11, v1]),
      legend: [["posterior, 1 and 2 sd", colour.blue], ["best q, 2 sd", colour.vermilion, "7 4"]] },
    plane("The two layers", "a unit of z₁", "z₂", ([v2, c12, v1]) => [v1, c12, v2]),
    bars,
  ],
  controls: [
    { choice: "q", label: "q infers", options: Object.entries(NAMES) },
    { slider: "strength", label: "a: how far z₂ moves z₁", min: STRENGTHS[0], max: STRENGTHS[1],
      step: 0.05 },
    { slider: "noise", label: "σ: noise of x", min: NOISES[0], max: NOISES[1], step: 0.05 },
    { slider: "units", label: "d: units of z₁", min: 2, max: 40, step: 1,
      format: (value) => format(value, 0) },
  ],
  numbers: (state, { lost }) => [
    ["squared multiple correlation of z₂ with z₁, given x", format(squaredCorrelation(state))],
    ...Object.entries(NAMES).map(([key, name]) => [`${name} loses`, nats(lost[key])]),
  ],
});
