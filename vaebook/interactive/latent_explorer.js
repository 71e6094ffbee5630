// Latent explorer: move a code z and see the image that the decoder expects there.
// The decoder itself runs here; nothing is looked up.

const { Plot, clamp, colour, figure, format, network, once } = vaebookLive;

/** Index of the code nearest to z. */
export function nearest(codes, z) {
  const distances = codes.map(([a, b]) => (a - z[0]) ** 2 + (b - z[1]) ** 2);
  return distances.indexOf(Math.min(...distances));
}

const decoder = once(network);
const HUES = ["blue", "vermilion", "teal", "gold", "plum", "slate"];
const hue = (label) => colour[HUES[label % HUES.length]];
const where = (z) => `z = (${format(z[0])}, ${format(z[1])})`;
const move = ({ extent }, x, y) => ({ z: [x, y].map((v) => clamp(v, [-extent, extent])) });

function describe({ codes, labels, z }) {
  if (labels.length === 0) return where(z);
  return `${where(z)}; the nearest encoded image is a ${labels[nearest(codes, z)]}`;
}

const plane = {
  depends: ["codes", "extent"],
  height: (width) => width,
  plot: ({ codes, labels, extent }) => ({
    x: { domain: [-extent, extent], label: "z₁", ticks: 5 },
    y: { domain: [-extent, extent], label: "z₂", ticks: 5 },
    marks: [
      Plot.frame({ stroke: colour.rule }),
      Plot.text(codes, { x: "0", y: "1", text: labels.map(String), fill: labels.map(hue),
        fontSize: 10, clip: true }),
    ],
  }),
  label: ({ codes, z }) => `Latent plane with ${codes.length} encoded images; ${where(z)}`,
  press: move,
  handles: [{
    label: "Code z",
    x: ({ z }) => z[0],
    y: ({ z }) => z[1],
    move,
    text: describe,
  }],
};

export default figure({
  view: ({ layers, z }) => ({ pixels: decoder(layers)(z) }),
  panels: [
    plane,
    {
      size: "10rem",
      pictures: (state, { pixels }) =>
        [{ pixels, width: state.side, label: `Decoded image at ${describe(state)}`, text: "decoded" }],
    },
  ],
  controls: ({ extent }) => [0, 1].map((axis) => ({
    slider: "z",
    label: ["z₁", "z₂"][axis],
    min: -extent,
    max: extent,
    get: ({ z }) => z[axis],
    set: ({ z }, value) => ({ z: z.map((v, i) => (i === axis ? value : v)) }),
  })),
  describe,
});
