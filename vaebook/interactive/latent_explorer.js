// Latent explorer: move a code z and see the image that the decoder expects there.
// The decoder itself runs here; nothing is looked up.

const { Plot, codeAt, colour, figure, movableCode, network, once } = vaebookLive;

/** Index of the code nearest to z. */
export function nearest(codes, z) {
  const distances = codes.map(([a, b]) => (a - z[0]) ** 2 + (b - z[1]) ** 2);
  return distances.indexOf(Math.min(...distances));
}

const decoder = once(network);
const HUES = ["blue", "vermilion", "teal", "gold", "plum", "slate"];
const hue = (label) => colour[HUES[label % HUES.length]];

function describe({ codes, labels, z }) {
  if (labels.length === 0) return codeAt(z);
  return `${codeAt(z)}; the nearest encoded image shows the digit ${labels[nearest(codes, z)]}`;
}

const code = movableCode({
  depends: ["codes", "extent"],
  marks: ({ codes, labels }) => [
    Plot.text(codes, { x: "0", y: "1", text: labels.map(String), fill: labels.map(hue),
      fontSize: 10, clip: true }),
  ],
  label: ({ codes, z }) => `Latent plane with ${codes.length} encoded images; ${codeAt(z)}`,
  text: describe,
});

export default figure({
  view: ({ layers, z }) => ({ pixels: decoder(layers)(z) }),
  panels: [
    code.plane,
    {
      size: "10rem",
      pictures: (state, { pixels }) =>
        [{ pixels, width: state.side, label: `Decoded image at ${describe(state)}`, text: "decoded" }],
    },
  ],
  controls: code.sliders,
  describe,
});
