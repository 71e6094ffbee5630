// A digit completed pixel by pixel, by the trained row model: a recurrent network over rows, and a
// masked network within the row. Everything is computed here, from the network's weights.

const { array, clamp, figure, format, make, network, once, random, word } = vaebookLive;

const sigmoid = (t) => 1 / (1 + Math.exp(-t));
const silu = (t) => t * sigmoid(t);
const sum = (...terms) => terms[0].map((_, i) => terms.reduce((all, term) => all + term[i], 0));

/** The functions of the network, from its packed layers. */
export const read = once(({ layers, contexts, direct, input, hidden, position }) => ({
  layers: layers.map((layer) => network([layer])),
  contexts: contexts.map((layer) => network([layer])),
  direct: direct && network([direct]),
  input: network([input]),
  hidden: network([hidden]),
  position: array(position),
  size: array(hidden.bias).length / 3, // of the state: the unit has three parts
}));

/** The state of the gated recurrent unit after the row above row r. */
export function nextState(net, above, r, state) {
  const n = state.length;
  const w = above.length;
  const fromInput = net.input(above.map((pixel, c) => pixel + net.position[r * w + c]));
  const fromState = net.hidden(state);
  return state.map((old, i) => {
    const reset = sigmoid(fromInput[i] + fromState[i]);
    const keep = sigmoid(fromInput[n + i] + fromState[n + i]);
    const proposal = Math.tanh(fromInput[2 * n + i] + reset * fromState[2 * n + i]);
    return (1 - keep) * proposal + keep * old;
  });
}

/** Log-odds of the pixels of a row, and the hidden units that gave them. */
export function inRow(net, row, state) {
  const units = [];
  let values = row;
  net.layers.forEach((layer, i) => {
    if (i > 0) units.push((values = values.map(silu)));
    values = sum(layer(values), net.contexts[i](state));
  });
  return { units, logits: net.direct ? sum(values, net.direct(row)) : values };
}

let known = []; // rows of the last call: most of an image is the same at the next step

/** What the network says of rows 0 to n - 1 of an image: for each, its log-odds and its units. */
export function rows(net, image, width, n) {
  const said = [];
  let state = new Float64Array(net.size);
  let above = new Float64Array(width);
  for (let r = 0; r < n; r++) {
    const row = Float64Array.from(image.slice(r * width, (r + 1) * width));
    const old = known[r];
    const sameAbove = old?.net === net && (r === 0 || said[r - 1] === known[r - 1]);
    if (sameAbove && row.every((pixel, c) => pixel === old.row[c])) said.push(old);
    else {
      const next = sameAbove ? old.state : nextState(net, above, r, state);
      said.push({ net, row, state: next, ...inRow(net, row, next) });
    }
    state = said[r].state;
    above = row;
  }
  known = said.concat(known.slice(n));
  return said;
}

/** Log-odds of all pixels, each given those of the image that come before it. */
export const logits = (net, image, width) =>
  rows(net, image, width, image.length / width).flatMap((row) => Array.from(row.logits));

/** −log p of the pixels from `first` to before `last`, in nats, from their log-odds. */
export const nats = (odds, image, first, last) => image.slice(first, last).reduce(
  (all, pixel, i) => all + Math.log1p(Math.exp((1 - 2 * pixel) * odds[first + i])), 0);

/** Which pixels a hidden unit of the row r sees: all rows above, and in its own row as many as
 * its degree says. */
export const mask = (degree, r, width, n) =>
  Array.from({ length: n }, (_, i) => i < r * width + degree);

function view(state) {
  const { width, height, cut, drawn } = state;
  const net = read(state.network);
  const image = state.images[state.digit].slice(0, cut * width).concat(drawn);
  const at = image.length;
  const n = width * height;
  const padded = image.concat(Array(n - at).fill(0));
  const said = rows(net, padded, width, Math.min(height, Math.floor(at / width) + 1));
  const odds = said.flatMap((row) => Array.from(row.logits)).slice(0, at + 1);
  return {
    image, at, n,
    probability: odds.map(sigmoid),
    row: said.at(-1),
    r: said.length - 1,
    kept: nats(odds, image, 0, cut * width),
    added: nats(odds, image, cut * width, at),
    seen: seenBy(state, said.length - 1, n),
  };
}

// The mask of what was tapped: of a pixel (its output unit), or of a hidden unit.
function seenBy({ pixel, unit, width, degrees }, r, n) {
  if (pixel >= 0) return mask(pixel % width, Math.floor(pixel / width), width, n);
  return unit >= 0 ? mask(degrees[unit], r, width, n) : null;
}

function advance(state, { at, n, probability }) {
  if (at >= n) return null;
  const lit = random(state.seed * n + at).uniform() < probability[at];
  return { drawn: [...state.drawn, Number(lit)] };
}

// ---- drawing: cells of one size on a canvas, which can be tapped ----

const size = 10; // of a cell

// The colours as they are now, on a light or on a dark page.
const huesOf = (canvas) => {
  const style = getComputedStyle(canvas);
  const names = ["ink", "blue", "rule", "teal", "vermilion"];
  return Object.fromEntries(names.map((n) => [n, style.getPropertyValue(`--live-${n}`)]));
};

function cells({ title, label, width, height, paint, press }) {
  return {
    mount(parent, fig) {
      make("div", parent, { class: "vaebook-title" }, title);
      const canvas = make("canvas", parent, { role: "img",
        style: "width: 100%; display: block; image-rendering: pixelated; cursor: pointer; " +
          "outline: 1px solid var(--live-rule)" });
      const columns = (state) => width?.(state) ?? state.width;
      canvas.addEventListener("click", ({ clientX, clientY }) => {
        const box = canvas.getBoundingClientRect();
        const w = columns(fig.state);
        const c = clamp(Math.floor(((clientX - box.left) / box.width) * w), [0, w - 1]);
        const r = Math.floor(((clientY - box.top) / box.width) * w);
        fig.change(press(fig.state, r * w + c));
      });
      return (state, view) => {
        const w = columns(state);
        canvas.width = w * size;
        canvas.height = height(state) * size;
        canvas.setAttribute("aria-label", label(state, view));
        const g = canvas.getContext("2d");
        const hues = huesOf(canvas);
        const fill = (i, name, alpha = 1) => {
          g.globalAlpha = alpha;
          g.fillStyle = hues[name];
          g.fillRect((i % w) * size, Math.floor(i / w) * size, size, size);
        };
        const outline = (i, name) => {
          g.globalAlpha = 1;
          g.strokeStyle = hues[name];
          g.lineWidth = 3;
          g.strokeRect((i % w) * size + 1, Math.floor(i / w) * size + 1, size - 2, size - 2);
        };
        paint(state, view, fill, outline);
      };
    },
  };
}

const pressPixel = (state, i) => ({ pixel: state.pixel === i ? -1 : i, unit: -1 });
const pressUnit = (state, i) => ({ unit: state.unit === i ? -1 : i, pixel: -1 });

const digit = cells({
  title: "the digit",
  height: (state) => state.height,
  press: pressPixel,
  label: (state, { at, n }) =>
    `The digit, ${state.cut} rows of it kept and ${at - state.cut * state.width} pixels drawn` +
    (at < n ? "; below, nothing is known yet." : "."),
  paint(state, { image, at, n, seen }, fill, outline) {
    for (let i = 0; i < n; i++) {
      if (i >= at) fill(i, "rule", 0.6);
      if (seen?.[i]) fill(i, "teal", 0.35);
      if (image[i]) fill(i, i < state.cut * state.width ? "ink" : "blue", seen ? 0.7 : 1);
    }
    if (at < n) outline(at, "vermilion");
    if (state.pixel >= 0) outline(state.pixel, "teal");
  },
});

const map = cells({
  title: "how probably lit",
  height: (state) => state.height,
  press: pressPixel,
  label: (_, { probability, at, n }) =>
    "Map of the probability of each pixel given those before it" +
    (at < n ? `; that of the next pixel is ${format(probability[at])}.` : "."),
  paint(_, { probability, at, n }, fill, outline) {
    for (let i = 0; i < n; i++)
      if (i < probability.length) fill(i, "ink", probability[i]);
      else fill(i, "rule", 0.6);
    if (at < n) outline(at, "vermilion");
  },
});

const UNITS_A_ROW = 32;
const units = cells({
  title: "hidden units of this row, sorted by what they see",
  width: () => UNITS_A_ROW,
  height: ({ degrees }) => Math.ceil(degrees.length / UNITS_A_ROW),
  press: (state, i) => (i < state.degrees.length ? pressUnit(state, i) : null),
  label: ({ degrees }) => `${degrees.length} hidden units; the darker, the more active.`,
  paint({ unit, degrees }, { row }, fill, outline) {
    const active = row.units[0];
    const most = Math.max(...active);
    degrees.forEach((_, i) => fill(i, "teal", Math.max(0.08, active[i] / most)));
    if (unit >= 0) outline(unit, "vermilion");
  },
});

// Side by side, on a phone as well.
const pair = (...both) => ({
  mount(parent, fig) {
    parent.classList.add("vaebook-wide");
    parent.style.cssText = "display: grid; grid-template-columns: 1fr 1fr; gap: 1rem";
    const shown = both.map((panel) => panel.mount(make("div", parent), fig));
    return (state, view) => shown.forEach((show) => show(state, view));
  },
});

function describe({ pixel, unit, width, degrees, cut, drawn }, { r, at, n, probability }) {
  const place = (i) => `row ${Math.floor(i / width) + 1}, column ${(i % width) + 1}`;
  if (pixel >= 0) return `The output for ${place(pixel)} sees the shaded pixels: ${pixel} of ${n}.`;
  if (unit >= 0)
    return `Hidden unit ${unit + 1} sees the rows above row ${r + 1}, through the state, and the ` +
      `first ${degrees[unit]} pixels of the row itself.`;
  if (at < n)
    return `${cut} rows are kept, ${drawn.length} pixels drawn. The next one, in ${place(at)}, is ` +
      `lit with probability ${format(probability[at])}.`;
  return `${cut} rows are kept, all other pixels drawn.`;
}

const none = (text) => (value) => (value < 0 ? word("none") : text(value));
const again = { drawn: [] };

export default figure({
  view,
  panels: [pair(digit, map), units],
  controls: ({ images, width, height, degrees }) => [
    { play: "Draw", advance, every: 15, step: "Next pixel" },
    { button: "Another draw", press: ({ seed }) => ({ seed: seed + 1, ...again }) },
    { slider: "cut", label: "rows that are kept", min: 0, max: height - 1, step: 1,
      set: (_, cut) => ({ cut, ...again }), format: String },
    { slider: "digit", label: "digit", min: 0, max: images.length - 1, step: 1,
      set: (_, digit) => ({ digit, ...again }),
      format: (value) => `image ${value + 1} of ${images.length}` },
    { slider: "pixel", label: "pixel whose mask is shown (or tap it)", min: -1,
      max: width * height - 1, step: 1, set: (_, pixel) => ({ pixel, unit: -1 }),
      format: none((i) => `row ${Math.floor(i / width) + 1}, column ${(i % width) + 1}`) },
    { slider: "unit", label: "hidden unit whose mask is shown (or tap it)", min: -1,
      max: degrees.length - 1, step: 1, set: (_, unit) => ({ unit, pixel: -1 }),
      format: none((i) => String(i + 1)) },
  ],
  numbers: (_, { kept, added }) => [
    ["−log p of the rows that are kept", `${format(kept, 1)} nats`],
    ["−log p of the pixels that were drawn, given those", `${format(added, 1)} nats`],
  ],
  describe,
});
