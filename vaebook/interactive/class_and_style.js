// Class and style: one code z, decoded with each class as the condition. The decoder runs here.

const { Plot, clamp, colour, figure, format, network, once } = vaebookLive;

const decoder = once(network);

/** The expected image of each class at the code z: the class, zeros and a one, comes before z. */
export function images(layers, n_classes, z) {
  const decode = decoder(layers);
  return Array.from({ length: n_classes }, (_, label) =>
    decode([...Array.from({ length: n_classes }, (_, i) => Number(i === label)), ...z]));
}

const where = (z) => `z = (${format(z[0])}, ${format(z[1])})`;
const move = ({ extent }, x, y) => ({ z: [x, y].map((v) => clamp(v, [-extent, extent])) });

const plane = {
  depends: ["codes", "labels", "extent", "chosen"],
  height: (width) => width,
  plot: ({ codes, labels, extent, chosen }) => ({
    x: { domain: [-extent, extent], label: "z₁", ticks: 5 },
    y: { domain: [-extent, extent], label: "z₂", ticks: 5 },
    marks: [
      Plot.frame({ stroke: colour.rule }),
      Plot.text(codes, { x: "0", y: "1", text: labels.map(String), clip: true, fontSize: 12,
        fill: labels.map((label) => (label === chosen ? colour.vermilion : colour.slate)),
        fillOpacity: labels.map((label) => (label === chosen ? 1 : 0.7)),
        fontWeight: labels.map((label) => (label === chosen ? "bold" : "normal")) }),
    ],
  }),
  label: ({ codes, chosen, z }) =>
    `Plane of codes with ${codes.length} encoded digits, those of class ${chosen} in bold; ${where(z)}`,
  press: move,
  handles: [{ label: "Code z", x: ({ z }) => z[0], y: ({ z }) => z[1], move,
    text: ({ z }) => where(z) }],
};

export default figure({
  view: ({ layers, n_classes, z }) => ({ decoded: images(layers, n_classes, z) }),
  panels: [
    plane,
    {
      size: "4.6rem",
      pictures: ({ side, z }, { decoded }) => decoded.map((pixels, label) => ({
        pixels, width: side, text: String(label),
        label: `Decoded image of class ${label} at ${where(z)}`,
      })),
      press: (_, label) => ({ chosen: label }),
      chosen: ({ chosen }) => chosen,
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
  describe: ({ z, chosen, labels }) =>
    `${where(z)} with each class. In bold: the codes of ` +
    `${labels.filter((label) => label === chosen).length} digits of class ${chosen}.`,
});
