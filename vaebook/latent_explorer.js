// Latent explorer: move a code z and see the image that the decoder expects there.
// The decoder itself runs here; nothing is looked up.

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const floats = (base64) => new Float32Array(bytes(base64).buffer);

/** Unpack layers: 8-bit weights with one scale for each output unit. */
export function unpack(layers) {
  return layers.map(({ weight, scale, bias, activation }) => ({
    weight: new Int8Array(bytes(weight).buffer),
    scale: floats(scale),
    bias: floats(bias),
    activation,
  }));
}

const ACTIVATIONS = {
  relu: (x) => Math.max(0, x),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

/** Mean image of p(x|z), one number in [0, 1] a pixel. */
export function decode(network, z) {
  let values = z;
  for (const { weight, scale, bias, activation } of network) {
    const n = values.length;
    const unit = (b, i) => {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += weight[i * n + j] * values[j];
      return ACTIVATIONS[activation](b + scale[i] * sum);
    };
    values = Array.from(bias, unit);
  }
  return values;
}

/** Index of the code nearest to z. */
export function nearest(codes, z) {
  const distances = codes.map(([a, b]) => (a - z[0]) ** 2 + (b - z[1]) ** 2);
  return distances.indexOf(Math.min(...distances));
}

const HUES = ["blue", "vermilion", "teal", "gold", "plum", "slate"];
const FALLBACK = ["#1d5fa8", "#b3300f", "#067c70", "#b98900", "#8a2f7b", "#4b5564"];
const round = (x) => x.toFixed(2).replace("-", "\u2212");

function make(tag, parent, properties = {}, attributes = {}) {
  const node = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

function slider(model, parent, axis) {
  const extent = model.get("extent");
  const label = make("label", parent);
  make("span", label, { textContent: ["z₁", "z₂"][axis] });
  const input = make("input", label, { type: "range", min: -extent, max: extent, step: 0.01 });
  input.addEventListener("input", () => {
    const z = [...model.get("z")];
    z[axis] = Number(input.value);
    move(model, z);
  });
  return input;
}

function move(model, z) {
  const extent = model.get("extent");
  model.set("z", z.map((v) => Math.min(extent, Math.max(-extent, v))));
  model.save_changes();
}

const KEYS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1],
};

function listen(model, pad) {
  const follow = (event) => {
    const box = pad.getBoundingClientRect();
    const extent = model.get("extent");
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    move(model, [(2 * across - 1) * extent, (1 - 2 * down) * extent]);
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    follow(event);
  });
  pad.addEventListener("pointermove", (event) => event.buttons && follow(event));
  pad.addEventListener("keydown", (event) => {
    const way = KEYS[event.key];
    if (way === undefined && event.key !== "Home") return;
    event.preventDefault();
    const step = event.shiftKey ? 0.5 : 0.1;
    const z = model.get("z");
    move(model, way ? [z[0] + step * way[0], z[1] + step * way[1]] : [0, 0]);
  });
}

function drawPad(model, pad) {
  const style = getComputedStyle(pad);
  const width = pad.clientWidth;
  const scale = window.devicePixelRatio || 1;
  pad.width = pad.height = Math.round(width * scale);
  const g = pad.getContext("2d");
  g.scale(scale, scale);
  const extent = model.get("extent");
  const place = ([a, b]) => [((a / extent + 1) / 2) * width, ((1 - b / extent) / 2) * width];
  const hues = HUES.map((hue, i) => style.getPropertyValue(`--vb-${hue}`) || FALLBACK[i]);
  g.font = "10px sans-serif";
  g.textAlign = "center";
  g.textBaseline = "middle";
  model.get("codes").forEach((code, i) => {
    const label = model.get("labels")[i];
    g.fillStyle = hues[label % hues.length];
    g.fillText(label, ...place(code));
  });
  g.fillStyle = style.color;
  g.font = "14px sans-serif";
  g.fillText("z₁", width - 12, width - 10);
  g.fillText("z₂", 12, 12);
  const [x, y] = place(model.get("z"));
  g.strokeStyle = style.color;
  g.lineWidth = 2;
  g.beginPath();
  g.arc(x, y, 9, 0, 2 * Math.PI);
  g.moveTo(x - 15, y);
  g.lineTo(x + 15, y);
  g.moveTo(x, y - 15);
  g.lineTo(x, y + 15);
  g.stroke();
}

function drawImage(canvas, pixels) {
  // Ink on nothing: dark on a light page, light on a dark one.
  const ink = getComputedStyle(canvas).color.match(/[\d.]+/g).map(Number);
  const g = canvas.getContext("2d");
  const image = g.createImageData(canvas.width, canvas.height);
  pixels.forEach((p, i) => image.data.set([ink[0], ink[1], ink[2], 255 * p], 4 * i));
  g.putImageData(image, 0, 0);
}

function describe(model) {
  const z = model.get("z");
  const labels = model.get("labels");
  const where = `z = (${round(z[0])}, ${round(z[1])})`;
  if (labels.length === 0) return where;
  return `${where}; the nearest encoded image is a ${labels[nearest(model.get("codes"), z)]}`;
}

function render({ model, el }) {
  const network = unpack(model.get("layers"));
  const side = model.get("side");
  const root = make("div", el, { className: "vaebook-live" });
  const panels = make("div", root, { className: "vaebook-panels" });
  const pad = make("canvas", panels, { className: "vaebook-pad", tabIndex: 0 }, {
    role: "application",
    "aria-roledescription": "two-dimensional slider",
    "aria-label": "Latent space: drag, or use the arrow keys, to move the code z",
  });
  const image = make("canvas", panels, { className: "vaebook-image", width: side, height: side }, {
    role: "img",
  });
  const controls = make("div", root, { className: "vaebook-controls" });
  const sliders = [0, 1].map((axis) => slider(model, controls, axis));
  const output = make("output", root);
  const draw = () => {
    const z = model.get("z");
    sliders.forEach((input, axis) => (input.value = z[axis]));
    drawImage(image, decode(network, z));
    drawPad(model, pad);
    output.textContent = describe(model);
    image.setAttribute("aria-label", `Decoded image at ${describe(model)}`);
  };
  listen(model, pad);
  model.on("change:z", draw);
  document.addEventListener("vaebook:theme", draw);
  const resized = new ResizeObserver(draw);
  resized.observe(pad);
  draw();
  return () => {
    resized.disconnect();
    document.removeEventListener("vaebook:theme", draw);
  };
}

export default { render };
