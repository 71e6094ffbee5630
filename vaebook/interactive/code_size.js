// The same digits, restored from codes of a chosen size: by a plane, and by two networks.

const { Plot, colour, figure, format, list, rows, word } = vaebookLive;
const NAMES = { PCA: "PCA", autoencoder: word("autoencoder") };

/** Sum over the pixels of the squared difference of two images of bytes, in units of full ink. */
export const squaredError = (one, other) =>
  one.reduce((sum, pixel, i) => sum + ((pixel - other[i]) / 255) ** 2, 0);

function view(state) {
  const { originals, restored, sizes, size } = state;
  const at = sizes.indexOf(size);
  const shown = rows(originals);
  const codes = Object.entries(restored).map(([key, packed]) => {
    const images = rows(packed).slice(at * shown.length, (at + 1) * shown.length);
    return { name: NAMES[key], images, error: state.errors[key][at],
      own: images.map((image, i) => squaredError(image, shown[i])) };
  });
  return { shown, codes };
}

const width = ({ originals }) => Math.sqrt(originals.width);
const numbers = (size) => (size === 1 ? "1 number" : `${size} numbers`);

const row = (index) => ({
  wide: true,
  size: "min(4.4rem, 14%)",
  pictures: (state, { codes, shown }) => (index < 0 ? shown : codes[index].images).map(
    (pixels, i) => ({
      pixels,
      width: width(state),
      label: index < 0
        ? `Test digit ${i + 1}`
        : `Digit ${i + 1} by ${codes[index].name} from ${numbers(state.size)}`,
      text: index < 0 ? "" : format(codes[index].own[i], 0),
    })),
});

const LOOKS = [[colour.blue, "none", "circle"], [colour.vermilion, "7 4", "square"]];

const errors = {
  wide: true,
  height: 220,
  plot: ({ sizes, size, errors }) => ({
    x: { type: "point", domain: sizes, label: "numbers in the code" },
    y: { domain: [0, Math.max(...Object.values(errors).flat())], label: "squared error, a digit" },
    marginTop: 30,
    marks: [
      Plot.ruleX([size], { stroke: colour.slate, strokeDasharray: "2 3" }),
      ...Object.values(errors).flatMap((values, k) => [
        Plot.line(values, { x: (_, i) => sizes[i], y: (v) => v, stroke: LOOKS[k][0],
          strokeDasharray: LOOKS[k][1], strokeWidth: 2 }),
        Plot.dot(values, { x: (_, i) => sizes[i], y: (v) => v, r: (_, i) =>
          sizes[i] === size ? 6 : 3, fill: LOOKS[k][0], symbol: LOOKS[k][2] }),
      ]),
      Plot.ruleY([0]),
    ],
    r: { type: "identity" },
  }),
  legend: LOOKS.map(([stroke, dashes], k) => [Object.values(NAMES)[k], stroke, dashes]),
  label: ({ size }, { codes }) =>
    `Mean error of a test digit against the size of the code. At ${numbers(size)}: ` +
    list(codes.map(({ name, error }) => `${name} ${format(error, 1)}`)) + word("."),
};

export default figure({
  view,
  panels: [
    { ...row(-1), title: "test digits" },
    { ...row(0), title: "restored by PCA, each with its squared error" },
    { ...row(1), title: "restored by the autoencoder" },
    errors,
  ],
  controls: ({ sizes }) => [
    { slider: "size", label: "numbers in the code, d", values: sizes, format: String },
  ],
  describe: ({ size }, { codes }) =>
    `From ${numbers(size)}, mean error over all test digits: ` +
    list(codes.map(({ name, error }) => `${name} ${format(error, 1)}`)) + word("."),
});
