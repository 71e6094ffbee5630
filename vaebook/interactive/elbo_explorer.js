// ELBO explorer: log p(x) = ELBO + KL(q || p(z|x)) while the reader moves q.
// Model: z ~ N(0, 1), x | z ~ N(weight z + offset, noise_std^2); q = N(mean, exp(log_std)^2).

const { Plot, colour, figure, format, linspace, logNormal, movableNormal, nats, normal } =
  vaebookLive;

/** KL divergence between two normal distributions, in nats. */
export function kl(mean, std, mean0, std0) {
  return Math.log(std0 / std) + (std ** 2 + (mean - mean0) ** 2) / (2 * std0 ** 2) - 0.5;
}

/** Every quantity of the identity, each from its own formula. */
export function terms({ weight, offset, noise_std, x, mean, log_std }) {
  const std = Math.exp(log_std);
  const precision = 1 + (weight / noise_std) ** 2;
  const posteriorMean = (weight * (x - offset)) / noise_std ** 2 / precision;
  const posteriorStd = 1 / Math.sqrt(precision);
  const spread = (weight * std) ** 2 / (2 * noise_std ** 2);
  const reconstruction = logNormal(x, weight * mean + offset, noise_std) - spread;
  const klPrior = kl(mean, std, 0, 1);
  return {
    posteriorMean,
    posteriorStd,
    reconstruction,
    klPrior,
    elbo: reconstruction - klPrior,
    klPosterior: kl(mean, std, posteriorMean, posteriorStd),
    logP: logNormal(x, offset, Math.hypot(weight, noise_std)),
  };
}

const q = movableNormal({ means: [-3, 3], logStds: [-1.5, 1] });
const grid = linspace(-4, 4, 161);
const curve = (mean, std, stroke, strokeWidth, strokeDasharray = "none") =>
  Plot.line(grid, { x: (z) => z, y: (z) => normal(z, mean, std), stroke, strokeWidth,
    strokeDasharray, clip: true });

const densities = {
  wide: true,
  height: 230,
  legend: [
    ["prior p(z)", colour.slate, "2 3", 1.4],
    ["posterior p(z | x)", colour.blue],
    ["q(z), yours", colour.vermilion, "7 4"],
  ],
  plot: ({ mean, log_std }, { posteriorMean, posteriorStd }) => ({
    x: { domain: [-4, 4], label: "z" },
    y: { domain: [0, 1.2], label: "density" },
    marks: [
      Plot.ruleY([0]),
      curve(0, 1, colour.slate, 1.4, "2 3"),
      curve(posteriorMean, posteriorStd, colour.blue, 2.2),
      curve(mean, Math.exp(log_std), colour.vermilion, 2.2, "7 4"),
    ],
  }),
  label: ({ mean, log_std }, { posteriorMean, posteriorStd }) =>
    `Densities over z. q is centred at ${format(mean)} with standard deviation ` +
    `${format(Math.exp(log_std))}, the posterior at ${format(posteriorMean)} with ` +
    `${format(posteriorStd)}, the prior at 0 with 1.`,
  handles: [q.handle],
};

// The gap is drawn in full as long as it lies within the axis.
const LEAST = -8;
const line = {
  wide: true,
  height: 110,
  plot: (_, { elbo, logP }) => ({
    x: { domain: [LEAST, 0], label: "nats", clamp: true },
    y: { domain: [0, 1], axis: null },
    marginTop: 24, marginLeft: 30, marginRight: 30,
    marks: [
      Plot.rect([0], { x1: elbo, x2: logP, y1: 0.1, y2: 0.7, fill: colour.vermilion,
        fillOpacity: 0.35, stroke: colour.vermilion, strokeDasharray: "4 3" }),
      Plot.ruleX([elbo], { stroke: colour.blue, strokeWidth: 4, y1: 0, y2: 0.8 }),
      Plot.ruleX([logP], { stroke: colour.ink, strokeWidth: 2, y1: 0, y2: 1 }),
      Plot.text([elbo], { x: (nats) => nats, y: 0.4, text: ["ELBO"], fill: colour.blue,
        textAnchor: "end", dx: -8 }),
      Plot.text([logP], { x: (nats) => nats, y: 1, text: ["log p(x)"], dy: -10 }),
    ],
  }),
  label: (_, { elbo, klPosterior, logP }) =>
    `A line of nats. The ELBO stands at ${format(elbo, 3)}, log p(x) at ${format(logP, 3)}; ` +
    `between them lies the KL divergence, ${format(klPosterior, 3)}.`,
};

export default figure({
  view: terms,
  panels: [densities, line],
  controls: [
    ...q.sliders,
    { slider: "x", label: "observed x", min: -3, max: 3 },
    {
      button: "Set q to the posterior",
      press: (_, { posteriorMean, posteriorStd }) =>
        ({ mean: posteriorMean, log_std: Math.log(posteriorStd) }),
    },
  ],
  numbers: (_, now) => [
    ["reconstruction term, E log p(x | z) under q", nats(now.reconstruction)],
    ["minus KL(q ‖ p(z)), to the prior", nats(-now.klPrior)],
    ["ELBO, their sum", nats(now.elbo)],
    ["KL(q ‖ p(z | x)), to the posterior: the gap", nats(now.klPosterior)],
    ["ELBO + gap", nats(now.elbo + now.klPosterior)],
    ["log p(x), on its own", nats(now.logP)],
  ],
});
