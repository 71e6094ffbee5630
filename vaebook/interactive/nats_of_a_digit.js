// What each model says of one digit: -log P(x) or a bound on it, beside the nearest training digit.

const { Plot, colour, figure, format, list, rows, word } = vaebookLive;

/** Number of pixels in which two black and white images differ. */
export const pixelsOff = (a, b) => a.reduce((sum, pixel, i) => sum + (pixel !== b[i]), 0);

/** Models in the order of what an image costs them, the cheapest first. */
export const ranking = (models, image) =>
  models.map(({ name, costs }) => [name, costs[image]]).sort((a, b) => a[1] - b[1]);

/** How many orders of magnitude one probability is above another. */
export const ordersBetween = (nats, others) => (others - nats) / Math.LN10;

/** A name in two lines, if one is too short for it: broken at a space near its middle. */
export const inLines = (name) => {
  const space = name.length > 20 ? name.indexOf(" ", name.length / 2 - 4) : -1;
  return space < 0 ? name : `${name.slice(0, space)}\n${name.slice(space + 1)}`;
};

const picture = (pixels, label, text) => ({ pixels, width: Math.sqrt(pixels.length), label, text });

const costs = {
  wide: true,
  legend: [
    ["exact", colour.blue, "dot"],
    ["a bound, or an estimate (too high on average)", colour.vermilion, "dot"],
    ["average of all", colour.ink],
  ],
  plot: ({ models, image }, _, width) => {
    const y = "name";
    const x = ({ costs: each }) => each[image];
    const all = models.flatMap(({ costs: each, average }) => [...each, average]);
    const stroke = ({ exact }) => (exact ? colour.blue : colour.vermilion);
    return {
      height: 64 + 26 * models.length,
      marginLeft: width < 500 ? 132 : 150,
      marginRight: 40,
      x: { domain: [0, Math.max(...all)], label: "nats", grid: true },
      y: { domain: models.map(({ name }) => name), label: null, tickFormat: inLines },
      marks: [
        Plot.ruleY(models, { y, stroke: colour.rule }),
        Plot.tickX(models, { x: "average", y, stroke: colour.ink, strokeWidth: 2 }),
        Plot.dot(models, { x, y, r: 6, stroke, strokeWidth: 2,
          fill: (model) => (model.exact ? colour.blue : colour.paper) }),
        Plot.text(models, { y, frameAnchor: "right", dx: 12, textAnchor: "start", fill: colour.ink,
          text: (model) => format(x(model), 0) }),
      ],
    };
  },
  label: ({ models, image }) =>
    "Nats by model, the cheapest first: " +
    list(ranking(models, image).map(([name, nats]) => `${name} ${format(nats, 0)}`)) + word("."),
};

export default figure({
  view: (state) => {
    const [digit, near] = [state.pixels, state.nearest].map((packed) => rows(packed)[state.image]);
    return { digit, near, off: pixelsOff(digit, near), order: ranking(state.models, state.image) };
  },
  panels: [
    {
      wide: true,
      title: "Pick a test digit",
      size: "2.75rem",
      pictures: (state) => rows(state.pixels).map((pixels, i, all) =>
        picture(pixels, `Test digit ${i + 1} of ${all.length}`)),
      press: (_, image) => ({ image }),
      chosen: ({ image }) => image,
    },
    costs,
    {
      wide: true,
      size: "6rem",
      pictures: (_, { digit, near, off }) => [
        picture(digit, "The test digit", "the digit"),
        picture(near, "The training digit nearest to it", "nearest known"),
        picture(digit.map((pixel, i) => (pixel === near[i] ? 0 : 255)),
          `The ${off} pixels in which they differ`, `${off} differ`),
      ],
    },
  ],
  numbers: (_, { off, order }) => [
    ["pixels between the digit and the nearest of 60,000 training digits", String(off)],
    [`fewest nats: ${order[0][0]}`, format(order[0][1], 1)],
    [`most nats: ${order.at(-1)[0]}`, format(order.at(-1)[1], 1)],
  ],
  describe: ({ models }, { order }) => {
    const [[best, nats], [worst, others]] = [order[0], order.at(-1)];
    const [first, last] = [best, worst].map((model) => models.find(({ name }) => name === model));
    const orders = format(ordersBetween(nats, others), 0);
    return !first.exact && last.exact
      ? `By these numbers the digit is at least about 10 to the power ${orders} times as ` +
        `probable under "${best}" as under "${worst}".`
      : `By these numbers the digit is 10 to the power ${orders} times as probable under ` +
        `"${best}" as under "${worst}".`;
  },
});
