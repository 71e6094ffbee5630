// The K-sample estimate of log p(x): log of the average of K importance weights, again and again.
// The weights are draws from a pool that Python computed; the page draws from it with replacement.

const { Plot, colour, figure, format, linspace, logSumExp, once, random, rows } = vaebookLive;

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const REPEATS = 400;

/** log of the average of weights, from their logarithms. */
export const logMeanExp = (logWeights) => logSumExp(logWeights) - Math.log(logWeights.length);

/** The estimates of rows of `k` draws each, given by their places in the pool. */
export const estimates = (pool, places, k) =>
  places.map((row) => logMeanExp(row.slice(0, k).map((place) => pool[place])));

/** Shares of values between neighbouring edges; what lies below the first counts as in the first. */
export function shares(values, edges) {
  const n = edges.length - 1;
  const counts = new Array(n).fill(0);
  for (const value of values) {
    const place = Math.floor(((value - edges[0]) / (edges[n] - edges[0])) * n);
    counts[Math.min(Math.max(place, 0), n - 1)] += 1 / values.length;
  }
  return counts;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const quantile = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];

/** The same draws for all K: more draws are added to those that are there. */
function places(n) {
  const { uniform } = random(1);
  return Array.from({ length: REPEATS }, () =>
    Array.from({ length: STEPS.at(-1) }, () => Math.floor(n * uniform())));
}

const estimatesOf = once(() => new Map());

/** All that depends on the digit and the encoder: the estimates for each K, and their axis. */
function series({ log_weights, image, narrow, n_images }) {
  const known = estimatesOf(log_weights), n = log_weights.width;
  const pool = (row) => Array.from(rows(log_weights)[row]);
  const name = `${image} ${narrow}`;
  if (!known.has(name)) {
    if (!known.has("places")) known.set("places", places(n));
    const weights = pool((narrow ? n_images : 0) + image);
    const drawn = STEPS.map((k) =>
      estimates(weights, known.get("places"), k).sort((a, b) => a - b));
    known.set(name, {
      drawn,
      means: drawn.map(mean),
      elbo: mean(weights),
      best: logMeanExp(pool(image)),
    });
  }
  return known.get(name);
}

// From the worst single draw to above the estimate from all.
const axis = ({ drawn, best }) => [Math.floor(drawn[0][0]), Math.ceil(best + 1.5)];

const histogram = {
  height: 210,
  legend: [
    ["400 estimates", colour.blue, "", 7],
    ["their mean", colour.vermilion],
    ["estimate from all draws", colour.ink, "5 3"],
  ],
  plot: (state, { edges, heights, at, domain, best }) => ({
    x: { domain, label: "estimate of log p(x), nats" },
    y: { domain: [0, 1.05 * Math.max(...heights)], label: "share of the estimates",
      tickFormat: "%", ticks: 4 },
    marginLeft: 50,
    marks: [
      Plot.rectY(heights, { x1: (_, i) => edges[i], x2: (_, i) => edges[i + 1], y: (v) => v,
        fill: colour.blue, fillOpacity: 0.7 }),
      Plot.ruleY([0]),
      Plot.ruleX([best], { stroke: colour.ink, strokeWidth: 1.8, strokeDasharray: "5 3" }),
      Plot.ruleX([at], { stroke: colour.vermilion, strokeWidth: 2.4 }),
    ],
  }),
  label: ({ k }, { at, best, spread }) =>
    `Histogram of 400 estimates from ${k} draws each. Their mean is ${format(at, 1)} nats, their ` +
    `standard deviation ${format(spread, 1)}; that from all draws is ${format(best, 1)}.`,
};

const place = Math.log10; // of K on its axis

const climb = {
  height: 210,
  legend: [
    ["mean", colour.vermilion],
    ["nine of ten estimates", colour.blue, "", 7, 0.3],
  ],
  plot: ({ k }, { drawn, means, best, domain }) => {
    const x = (_, i) => place(STEPS[i]);
    const band = (share) => (values) => quantile(values, share);
    return {
      x: { domain: [0, place(500)], label: "draws K (logarithmic)",
        ticks: [1, 5, 20, 100, 500].map(place), tickFormat: (x) => String(Math.round(10 ** x)) },
      y: { domain, label: "nats" },
      marginLeft: 50,
      marks: [
        Plot.areaY(drawn, { x, y1: band(0.05), y2: band(0.95), fill: colour.blue,
          fillOpacity: 0.25 }),
        Plot.ruleY([best], { stroke: colour.ink, strokeWidth: 1.8, strokeDasharray: "5 3" }),
        Plot.line(means, { x, y: (v) => v, stroke: colour.vermilion, strokeWidth: 2.2, clip: true }),
        Plot.dot([means[STEPS.indexOf(k)]], { x: place(k), y: (v) => v, r: 5, fill: colour.vermilion }),
      ],
    };
  },
  label: (_, { means, best }) =>
    `Mean of the estimates against the number of draws: from ${format(means[0], 1)} nats with one ` +
    `draw to ${format(means.at(-1), 1)} with 500. A dashed line at ${format(best, 1)}.`,
  press: (_, x) => ({ k: STEPS.reduce((a, b) =>
    Math.abs(place(b) - x) < Math.abs(place(a) - x) ? b : a) }),
};

export default figure({
  view: (state) => {
    const all = series(state);
    const index = STEPS.indexOf(state.k);
    const now = all.drawn[index];
    const at = all.means[index];
    const spread = Math.sqrt(mean(now.map((value) => (value - at) ** 2)));
    const domain = axis(all);
    const edges = linspace(...domain, 41);
    return { ...all, at, spread, domain, edges, heights: shares(now, edges) };
  },
  panels: [
    {
      wide: true,
      size: "3.5rem",
      pictures: ({ pixels }) => rows(pixels).map((image, i, all) => ({
        pixels: image,
        width: Math.sqrt(pixels.width),
        label: `Digit ${i + 1} of ${all.length}`,
      })),
      press: (_, image) => ({ image }),
      chosen: ({ image }) => image,
    },
    histogram,
    climb,
  ],
  controls: [
    { slider: "k", label: "draws K", values: STEPS, format: String },
    { toggle: "narrow", label: "an encoder with a tenth of the variances" },
    {
      play: "More draws",
      every: 500,
      advance: ({ k }) => (k === STEPS.at(-1) ? null : { k: STEPS[STEPS.indexOf(k) + 1] }),
    },
  ],
  numbers: ({ k }, { at, spread, best, elbo }) => [
    [`mean of 400 estimates, K = ${k}`, `${format(at, 1)} nats`],
    ["their standard deviation", `${format(spread, 1)} nats`],
    ["ELBO, the mean of all log-weights", `${format(elbo, 1)} nats`],
    ["estimate from all draws of the better encoder", `${format(best, 1)} nats`],
  ],
});
