// What β does to a VAE: the nats that each dimension of a code costs, and images from the code.

const { Plot, colour, figure, format, rows } = vaebookLive;

/** KL divergence of each dimension of a diagonal Gaussian from the standard normal, in nats. */
export const klOfEach = (mean, logVar) =>
  mean.map((m, j) => 0.5 * (m * m + Math.expm1(logVar[j]) - logVar[j]));

const pictures = (images, name) => images.map((pixels, i) =>
  ({ pixels, width: Math.sqrt(pixels.length), label: `${name} ${i + 1}` }));

function view({ betas, beta, image, codes, costs, digits, pictures: packed }) {
  const at = betas.indexOf(beta);
  const n = codes[0].length;
  const d = codes[0][0].length / 2;
  const each = codes.map((models) => klOfEach(models[image].slice(0, d), models[image].slice(d)));
  // for each β the reconstructions, then the new images
  const part = (which) => rows(packed).slice((2 * at + which) * n, (2 * at + which + 1) * n);
  return {
    digits: rows(digits),
    reconstructions: part(0),
    samples: part(1),
    nats: [...each[at]].sort((a, b) => b - a),
    most: Math.max(...each.flat()),
    rate: costs[at][0],
    distortion: costs[at][1],
  };
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);

export default figure({
  view,
  panels: [
    {
      wide: true, title: "Pick a digit", size: "2.6rem",
      pictures: (_, { digits }) => pictures(digits, "Digit"),
      press: (_, image) => ({ image }),
      chosen: ({ image }) => image,
    },
    {
      wide: true, title: "Reconstructions", size: "2.6rem",
      pictures: (_, { reconstructions }) => pictures(reconstructions, "Reconstruction of digit"),
    },
    {
      wide: true, title: "New digits, from the prior", size: "2.6rem",
      pictures: (_, { samples }) => pictures(samples, "New digit"),
    },
    {
      wide: true, height: 190, title: "What the code of the picked digit costs, by dimension",
      plot: (_, { nats, most }) => ({
        x: { domain: nats.map((_, i) => i + 1), label: "dimension, the dearest first",
          ticks: nats.map((_, i) => i + 1).filter((j) => j % 5 === 0) },
        y: { domain: [0, most], label: "nats", grid: true },
        marks: [
          Plot.barY(nats, { x: (_, i) => i + 1, y: (value) => value, fill: colour.blue }),
          Plot.ruleY([0]),
        ],
      }),
      label: (_, { nats }) =>
        `Bars of nats: the dearest dimension costs ${format(nats[0])}, the cheapest ` +
        `${format(nats.at(-1))}, all together ${format(total(nats))}.`,
    },
  ],
  controls: ({ betas }) => [
    { slider: "beta", label: "β in training", values: betas, format: String },
  ],
  numbers: (_, { nats, rate, distortion }) => [
    ["rate: the code, average of the validation digits", `${format(rate)} nats`],
    ["distortion: what is left to say", `${format(distortion)} nats`],
    ["negative ELBO, their sum", `${format(rate + distortion)} nats`],
    ["the code of the picked digit", `${format(total(nats))} nats`],
  ],
});
