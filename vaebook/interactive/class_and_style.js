// Class and style: one code z, decoded with each class as the condition. The decoder runs here.

const { Plot, codeAt, colour, figure, movableCode, network, once } = vaebookLive;

const decoder = once(network);

/** The expected image of each class at the code z: the class, zeros and a one, comes before z. */
export function images(layers, n_classes, z) {
  const decode = decoder(layers);
  return Array.from({ length: n_classes }, (_, label) =>
    decode([...Array.from({ length: n_classes }, (_, i) => Number(i === label)), ...z]));
}

const code = movableCode({
  depends: ["codes", "labels", "extent", "chosen"],
  marks: ({ codes, labels, chosen }) => [
    { own: false, fill: colour.slate, fillOpacity: 0.7 },
    { own: true, fill: colour.vermilion, fontWeight: "bold" },
  ].map(({ own, ...look }) => Plot.text(codes, { x: "0", y: "1", text: labels.map(String),
    filter: labels.map((label) => (label === chosen) === own), clip: true, fontSize: 12,
    ...look })),
  label: ({ codes, chosen, z }) =>
    `Plane of codes with ${codes.length} encoded digits, those of class ${chosen} in bold; ${codeAt(z)}`,
  text: ({ z }) => codeAt(z),
});

export default figure({
  view: ({ layers, n_classes, z }) => ({ decoded: images(layers, n_classes, z) }),
  panels: [
    code.plane,
    {
      size: "4.6rem",
      pictures: ({ side, z }, { decoded }) => decoded.map((pixels, label) => ({
        pixels, width: side, text: String(label),
        label: `Decoded image of class ${label} at ${codeAt(z)}`,
      })),
      press: (_, label) => ({ chosen: label }),
      chosen: ({ chosen }) => chosen,
    },
  ],
  controls: code.sliders,
  describe: ({ z, chosen, labels }) =>
    `${codeAt(z)} with each class. In bold: the codes of ` +
    `${labels.filter((label) => label === chosen).length} digits of class ${chosen}.`,
});
