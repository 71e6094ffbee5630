// What three divergences charge a model q that leaves out modes of p, or makes them too broad.
// p is an even mixture of round normal peaks on a line, q of those among them that are kept.

const { Plot, colour, figure, format, linspace, list, logNormal, logSumExp, word } = vaebookLive;

/** Log-density at x of an even mixture of normal distributions. */
export const logMixture = (x, centres, std) =>
  logSumExp(centres.map((centre) => logNormal(x, centre, std))) - Math.log(centres.length);

const grid = linspace(-1, 1, 2401);

/** Both KL divergences and the Jensen–Shannon divergence, in nats, by the trapezoidal rule. */
export function divergences(centres, kept, std, width) {
  const reach = Math.max(...centres.map(Math.abs)) + 10 * std * Math.max(1, width);
  const step = reach * (grid[1] - grid[0]);
  const sums = { forward: 0, backward: 0, jensenShannon: 0 };
  for (const place of grid) {
    const logP = logMixture(reach * place, centres, std);
    const logQ = logMixture(reach * place, kept, std * width);
    const p = Math.exp(logP), q = Math.exp(logQ);
    const logM = logSumExp([logP, logQ]) - Math.LN2;
    sums.forward += p * (logP - logQ) * step;
    sums.backward += q * (logQ - logP) * step;
    sums.jensenShannon += 0.5 * (p * (logP - logM) + q * (logQ - logM)) * step;
  }
  return sums;
}

/** The same for peaks that do not overlap, k of K of them kept; the first is infinite, or 0. */
export function withoutOverlap(k, K) {
  const part = (k / (2 * K)) * Math.log((2 * k) / (K + k));
  return {
    forward: k < K ? Infinity : 0,
    backward: Math.log(K / k),
    jensenShannon: part + ((K - k) / (2 * K)) * Math.LN2 + 0.5 * Math.log((2 * K) / (K + k)),
  };
}

const name = (i) => `mode_${i + 1}`;
const keptOf = (state) => state.centres.filter((_, i) => state[name(i)]);

function view(state) {
  const kept = keptOf(state);
  if (kept.length === 0) return { kept };
  const exact = withoutOverlap(kept.length, state.centres.length);
  return { kept, exact, now: divergences(state.centres, kept, state.std, state.width) };
}

const curve = (x, centres, std, options) =>
  Plot.line(x, { x: (v) => v, y: (v) => Math.exp(logMixture(v, centres, std)), ...options });

const densities = {
  wide: true,
  height: 200,
  legend: [["p, the data", colour.blue], ["q, the model", colour.vermilion, "7 4"]],
  plot: ({ centres, std, width }, { kept }) => {
    const edge = centres.at(-1) + 1.2;
    const x = linspace(-edge, edge, 401);
    const tallest = Math.exp(logMixture(centres[0], centres, std));
    return {
      x: { domain: [-edge, edge], label: "x" },
      y: { domain: [0, 1.7 * tallest], axis: null },
      marginLeft: 12,
      marks: [
        Plot.areaY(x, { x: (v) => v, y: (v) => Math.exp(logMixture(v, centres, std)),
          fill: colour.blue, fillOpacity: 0.15 }),
        curve(x, centres, std, { stroke: colour.blue, strokeWidth: 2 }),
        kept.length ? curve(x, kept, std * width, { stroke: colour.vermilion, strokeWidth: 2,
          strokeDasharray: "7 4", clip: true }) : null,
        Plot.ruleY([0]),
      ],
    };
  },
  label: ({ centres, width }, { kept }) =>
    `Two densities on a line. p has ${centres.length} peaks; q has ${kept.length} of them, ` +
    `${format(width, 1)} times as broad.`,
  press: (state, x) => {
    const distances = state.centres.map((centre) => Math.abs(centre - x));
    const nearest = name(distances.indexOf(Math.min(...distances)));
    return { [nearest]: !state[nearest] };
  },
};

const MOST = 3;
const NAMES = { forward: "KL(p ‖ q)", backward: "KL(q ‖ p)", jensenShannon: "JSD" };
const nats = (value) => (Number.isFinite(value) ? `${format(value, 3)} nats` : "∞");

const bars = {
  wide: true,
  height: 150,
  plot: (_, { now }) => ({
    x: { domain: [0, MOST], label: "nats", clamp: true, ticks: 4 },
    y: { domain: Object.values(NAMES), label: null },
    marginLeft: 80,
    marginRight: 40,
    marks: [
      Plot.barX(now ? Object.entries(now) : [], { x: ([, value]) => Math.min(value, MOST),
        y: ([key]) => NAMES[key], fill: colour.teal }),
      Plot.text(now ? Object.entries(now).filter(([, value]) => value > MOST) : [], { x: MOST,
        y: ([key]) => NAMES[key], text: ["→"], dx: 14, fontSize: 18 }),
      Plot.ruleX([Math.LN2], { stroke: colour.slate, strokeDasharray: "2 3" }),
      Plot.text([Math.LN2], { x: (v) => v, text: ["log 2"], frameAnchor: "top", dy: -12,
        fill: colour.slate }),
      Plot.ruleX([0]),
    ],
    marginTop: 24,
  }),
  label: (_, { now }) => now
    ? "Bars of nats. " + list(Object.entries(NAMES).map(([k, n]) => `${n} ${nats(now[k])}`))
    : "No bars: q is empty.",
};

export default figure({
  view,
  panels: [densities, bars],
  controls: ({ centres }) => [
    ...centres.map((_, i) => ({ toggle: name(i), label: `q has peak ${i + 1}` })),
    { slider: "width", label: "breadth of q's peaks, in those of p", min: 0.5, max: 8, step: 0.1,
      format: (value) => format(value, 1) },
  ],
  numbers: (_, { now, exact }) => [
    [word("divergence"), "q as drawn", "no overlap"],
    ...Object.entries(NAMES).map(([key, text]) =>
      [text, now ? nats(now[key]) : "–", exact ? nats(exact[key]) : "–"]),
  ],
  describe: ({ centres }, { kept }) => kept.length
    ? `q keeps ${kept.length} of ${centres.length} modes.`
    : "q is nothing: give it at least one peak.",
});
