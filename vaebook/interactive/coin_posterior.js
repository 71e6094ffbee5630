// Tosses of a coin, one by one: the Beta posterior of the probability of heads. The prior is
// Beta(a, b); a coin with the probability `truth` is tossed by a generator with a seed.

const { Plot, colour, figure, format, linspace, random, word } = vaebookLive;

/** log Γ(x) for x > 0: Stirling's series, after stepping up to where it is exact enough. */
export function logGamma(x) {
  let below = 0;
  for (; x < 12; x++) below -= Math.log(x);
  const y = 1 / x ** 2;
  const series = (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x;
  return below + (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series;
}

/** Density of Beta(a, b) at theta, strictly between 0 and 1. */
export const density = (theta, [a, b]) => Math.exp(
  (a - 1) * Math.log(theta) + (b - 1) * Math.log1p(-theta) + logGamma(a + b) - logGamma(a) - logGamma(b),
);

/** Mean and standard deviation of Beta(a, b). */
export const moments = ([a, b]) => ({
  mean: a / (a + b),
  std: Math.sqrt((a * b) / ((a + b) ** 2 * (a + b + 1))),
});

/** Parameters of the posterior after the tosses (1 for heads). */
export const posterior = ({ a, b, tosses }) => {
  const heads = tosses.reduce((sum, toss) => sum + toss, 0);
  return [a + heads, b + tosses.length - heads];
};

// The n-th toss is the same however it is reached.
const toss = ({ truth, tosses }) => Number(random(7919 * (tosses.length + 1)).uniform() < truth);
const add = ({ tosses }, ...more) => ({ tosses: [...tosses, ...more] });
const MOST = 200;

function view(state) {
  const now = posterior(state);
  return { now, heads: now[0] - state.a, path: means(state) };
}

/** Mean and standard deviation of the posterior before and after each toss. */
const means = ({ a, b, tosses }) =>
  Array.from({ length: tosses.length + 1 }, (_, n) =>
    ({ n, ...moments(posterior({ a, b, tosses: tosses.slice(0, n) })) }));

const grid = linspace(0.002, 0.998, 250);
const truthLine = { stroke: colour.ink, strokeDasharray: "2 3" };

const belief = {
  title: "Density of the probability of heads, θ",
  height: 260,
  legend: [
    ["prior", colour.slate, "7 4", 1.6],
    ["posterior", colour.blue],
    ["the coin's θ", colour.ink, "2 3", 1],
  ],
  plot: ({ a, b, truth }, { now }) => {
    const after = grid.map((theta) => ({ theta, p: density(theta, now) }));
    return {
      x: { domain: [0, 1], label: "θ" },
      y: { domain: [0, Math.max(4, ...after.map(({ p }) => 1.05 * p))], label: "density" },
      marks: [
        Plot.ruleX([truth], truthLine),
        Plot.ruleY([0]),
        Plot.line(grid, { x: (theta) => theta, y: (theta) => density(theta, [a, b]), clip: true,
          stroke: colour.slate, strokeWidth: 1.6, strokeDasharray: "7 4" }),
        Plot.areaY(after, { x: "theta", y: "p", fill: colour.blue, fillOpacity: 0.15 }),
        Plot.line(after, { x: "theta", y: "p", stroke: colour.blue, strokeWidth: 2.2 }),
      ],
    };
  },
  label: ({ a, b, tosses }, { now, heads }) =>
    `Prior Beta(${a}, ${b}), and the posterior after ${heads} heads in ${tosses.length} tosses, ` +
    `a bell at ${format(moments(now).mean)} with standard deviation ${format(moments(now).std)}.`,
};

const HEADS_AT = 0.97, TAILS_AT = 0.03; // where the tosses are marked
const SIDES = [[HEADS_AT, word("heads")], [TAILS_AT, word("tails")]];

const course = {
  title: "Posterior mean ± deviation, toss by toss",
  height: 260,
  plot: ({ tosses, truth }, { path }) => ({
    marginRight: 46,
    x: { domain: [0, Math.max(20, tosses.length)], label: "tosses" },
    y: { domain: [0, 1], label: "θ" },
    marks: [
      Plot.ruleY([truth], truthLine),
      Plot.areaY(path, { x: "n", y1: ({ mean, std }) => mean - std, y2: ({ mean, std }) => mean + std,
        fill: colour.blue, fillOpacity: 0.2 }),
      Plot.line(path, { x: "n", y: "mean", stroke: colour.blue, strokeWidth: 2.2 }),
      Plot.dot(path.slice(-1), { x: "n", y: "mean", r: 4, fill: colour.blue }),
      Plot.dot(tosses, { x: (_, n) => n + 1, y: (heads) => (heads ? HEADS_AT : TAILS_AT), r: 2.5,
        fill: colour.vermilion, symbol: (heads) => (heads ? "circle" : "cross") }),
      Plot.text(SIDES, { y: ([place]) => place, text: ([, side]) => side, frameAnchor: "right",
        textAnchor: "start", dx: 6, fill: colour.vermilion }),
    ],
  }),
  label: ({ tosses }, { path }) =>
    `The posterior mean over ${tosses.length} tosses, from ${format(path[0].mean)} to ` +
    `${format(path.at(-1).mean)}, in a band that narrows.`,
};

const PRIORS = [
  ["1 1", "knows nothing: Beta(1, 1)"],
  ["2 2", "thinks it fair: Beta(2, 2)"],
  ["2 50", "sure of tails: Beta(2, 50)"],
];
const spread = (beta) => `${format(moments(beta).mean, 3)} ± ${format(moments(beta).std, 3)}`;

export default figure({
  view,
  panels: [belief, course],
  controls: [
    { choice: "prior", label: "prior", options: PRIORS, set: (_, prior) => {
      const [a, b] = prior.split(" ").map(Number);
      return { prior, a, b };
    } },
    { slider: "truth", label: "the coin's θ, for the next tosses", min: 0.05, max: 0.95 },
    { button: "Add heads", press: (state) => add(state, 1) },
    { button: "Add tails", press: (state) => add(state, 0) },
    { play: "Toss the coin again and again", step: "Toss once", every: 120, advance: (state) =>
      (state.tosses.length < MOST ? add(state, toss(state)) : null) },
  ],
  numbers: ({ a, b, tosses }, { now, heads }) => [
    ["heads in all tosses", `${heads} of ${tosses.length}`],
    ["share of heads", tosses.length ? format(heads / tosses.length, 3) : "–"],
    [`prior Beta(${a}, ${b}), mean ± standard deviation`, spread([a, b])],
    [`posterior Beta(${now.join(", ")})`, spread(now)],
  ],
});
