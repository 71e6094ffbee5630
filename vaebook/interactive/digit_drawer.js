// Digit drawer: the reader draws a digit, and a trained VAE with two latents encodes it, decodes it
// and gives both terms of its bound. Both networks run here; nothing is looked up.

const { Plot, clamp, colour, drawPicture, figure, format, logNormal, logSumExp, make, movableCode,
  nats, network, once, random, rows } = vaebookLive;

const SIDE = 28;      // pixels of an image
const PAD = 112;      // pixels of the pad
const RADIUS = 4.6;   // of the pen, in pixels of the pad
const N_DRAWS = 64;

// ---- from strokes to an image, prepared as the training digits were ----

/** Ink on the pad, in [0, 1], for strokes that are lists of points [x, y] in [0, 1]. */
export function rasterise(strokes) {
  const ink = new Float32Array(PAD * PAD);
  const stamp = (x, y) => {
    const rows = [Math.floor(y - RADIUS - 1), Math.ceil(y + RADIUS + 1)];
    const columns = [Math.floor(x - RADIUS - 1), Math.ceil(x + RADIUS + 1)];
    for (let r = Math.max(0, rows[0]); r <= Math.min(PAD - 1, rows[1]); r++) {
      for (let c = Math.max(0, columns[0]); c <= Math.min(PAD - 1, columns[1]); c++) {
        const cover = clamp(RADIUS + 0.5 - Math.hypot(c + 0.5 - x, r + 0.5 - y), [0, 1]);
        ink[r * PAD + c] = Math.max(ink[r * PAD + c], cover);
      }
    }
  };
  for (const stroke of strokes) {
    stroke.forEach(([x, y], i) => {
      const [x0, y0] = stroke[Math.max(0, i - 1)];
      const n = Math.max(1, Math.ceil(PAD * Math.hypot(x - x0, y - y0)));
      for (let k = 0; k <= n; k++)
        stamp(PAD * (x0 + ((x - x0) * k) / n), PAD * (y0 + ((y - y0) * k) / n));
    });
  }
  return ink;
}

/** Scale ink to a box of 20 pixels and put its centre of mass into the middle of 28 x 28. */
export function centre(ink) {
  let [left, right, top, bottom, mass, atX, atY] = [PAD, -1, PAD, -1, 0, 0, 0];
  ink.forEach((value, i) => {
    if (value === 0) return;
    const x = i % PAD, y = Math.floor(i / PAD);
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
    mass += value;
    atX += value * (x + 0.5);
    atY += value * (y + 0.5);
  });
  const image = new Float32Array(SIDE * SIDE);
  if (mass === 0) return image;
  // A stroke that is far smaller than a digit is not blown up to one.
  const scale = Math.max(right - left + 1, bottom - top + 1, PAD / 4) / 20;
  const N = 6; // points a pixel and axis, whose average is the pixel
  for (let i = 0; i < image.length; i++) {
    let sum = 0;
    for (let k = 0; k < N * N; k++) {
      const x = atX / mass + ((i % SIDE) + ((k % N) + 0.5) / N - SIDE / 2) * scale;
      const y = atY / mass + (Math.floor(i / SIDE) + (Math.floor(k / N) + 0.5) / N - SIDE / 2) * scale;
      const c = Math.floor(x), r = Math.floor(y);
      if (c >= 0 && c < PAD && r >= 0 && r < PAD) sum += ink[r * PAD + c];
    }
    image[i] = sum / (N * N);
  }
  return image;
}

/** Binary pixels: a threshold at one half. */
export const binarise = (image) => Float32Array.from(image, (value) => Number(value > 0.5));

// ---- the model ----

/** Mean and standard deviation of q(z|x), from the encoder's outputs. */
export function posterior(outputs) {
  const d = outputs.length / 2;
  const mean = [...outputs.slice(0, d)];
  const std = [...outputs.slice(d)].map((raw) => Math.exp(5 * Math.tanh(raw / 10)));
  return { mean, std };
}

/** log p(x|z) of binary pixels, from the decoder's logits, in nats. */
export function logLikelihood(x, logits) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    const l = logits[i];
    sum += x[i] * l - Math.max(l, 0) - Math.log1p(Math.exp(-Math.abs(l)));
  }
  return sum;
}

/** Both terms of the bound, and the estimate of log p(x), from codes mean + std * noise. */
export function bound(x, { mean, std }, decode, noise) {
  const draws = noise.map((eps) => {
    const z = mean.map((m, j) => m + std[j] * eps[j]);
    const reconstruction = logLikelihood(x, decode(z));
    const ratio = z.reduce((sum, value, j) =>
      sum + logNormal(value) - logNormal(value, mean[j], std[j]), 0);
    return [reconstruction, reconstruction + ratio];
  });
  const n = draws.length;
  const reconstruction = draws.reduce((sum, [r]) => sum + r, 0) / n;
  const variance = draws.reduce((sum, [r]) => sum + (r - reconstruction) ** 2, 0) / (n - 1);
  const kl = mean.reduce((sum, m, j) =>
    sum + 0.5 * (m ** 2 + std[j] ** 2 - 1) - Math.log(std[j]), 0);
  return {
    reconstruction,
    error: Math.sqrt(variance / n),
    kl,
    elbo: reconstruction - kl,
    estimate: logSumExp(draws.map(([, weight]) => weight)) - Math.log(n),
  };
}

/** The class that most of the nearest codes have, and how many of them. */
export function neighbours(codes, labels, z, n = 15) {
  const nearest = codes
    .map(([a, b], i) => [(a - z[0]) ** 2 + (b - z[1]) ** 2, labels[i]])
    .sort(([a], [b]) => a - b).slice(0, n).map(([, label]) => label);
  const count = (label) => nearest.filter((other) => other === label).length;
  const most = nearest.reduce((best, label) => (count(label) > count(best) ? label : best));
  return [most, count(most)];
}

const { gaussian } = random(0);
const NOISE = Array.from({ length: N_DRAWS }, () => [gaussian(), gaussian()]);
const networks = once(({ encoder, decoder }) => ({ encode: network(encoder), decode: network(decoder) }));
const imagesOf = once((packed) =>
  rows(packed).map((bytes) => Float32Array.from(bytes, (byte) => byte / 255)));
const drawn = once((strokes) => binarise(centre(rasterise(strokes))));
const sigmoid = (logits) => logits.map((l) => 1 / (1 + Math.exp(-l)));
const analyse = once((weights) => once((x) => {
  const { encode, decode } = networks(weights);
  const q = posterior(encode(x));
  return { q, terms: bound(x, q, decode, NOISE), reconstruction: sigmoid(decode(q.mean)) };
}));

function view({ networks: weights, examples, example, strokes, z, codes, labels }) {
  const x = example >= 0 ? imagesOf(examples)[example] : drawn(strokes);
  const { q, terms, reconstruction } = analyse(weights)(x);
  return { x, q, terms, reconstruction, decoded: sigmoid(networks(weights).decode(z)),
    near: neighbours(codes, labels, q.mean) };
}

// ---- what is shown ----

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const add = ({ strokes }, stroke) => ({ strokes: [...strokes, stroke], example: -1 });

function pad(parent, self) {
  make("div", parent, { class: "vaebook-title" }, "draw a digit");
  const canvas = make("canvas", parent, {
    class: "vaebook-pad", width: PAD, height: PAD, tabindex: 0, role: "application",
    "aria-label": "Drawing pad: draw with the pointer, or move the pen with the arrow keys and " +
      "lower or lift it with the space bar",
  });
  let stroke = null, pen = [0.5, 0.5], isKeyed = false;
  const show = () => {
    const { example, strokes } = self.state;
    const lines = stroke ? [...(example < 0 ? strokes : []), stroke] : strokes;
    const pixels = example >= 0 && !stroke ? upscale(self.view.x) : rasterise(lines);
    drawPicture(canvas, { pixels, width: PAD });
    if (isKeyed) mark(canvas, pen);
  };
  const at = ({ clientX, clientY }) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [clamp((clientX - left) / width, [0, 1]), clamp((clientY - top) / height, [0, 1])];
  };
  const finish = () => {
    if (!stroke) return;
    const line = stroke;
    stroke = null;
    self.change(add(self.state.example < 0 ? self.state : { strokes: [] }, line));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    isKeyed = false;
    stroke = [at(event)];
    show();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke || isKeyed) return;
    stroke = [...stroke, at(event)];
    show();
  });
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
  canvas.addEventListener("keydown", (event) => {
    const way = WAYS[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    isKeyed = true;
    if (way) {
      pen = pen.map((value, axis) => clamp(value + 0.05 * way[axis], [0.05, 0.95]));
      if (stroke) stroke = [...stroke, pen];
      show();
    } else if (stroke) finish();
    else {
      stroke = [pen];
      show();
    }
  });
  return show;
}

const upscale = (image) => Float32Array.from({ length: PAD * PAD }, (_, i) =>
  image[Math.floor(Math.floor(i / PAD) / (PAD / SIDE)) * SIDE + Math.floor((i % PAD) / (PAD / SIDE))]);

function mark(canvas, [x, y]) {
  const g = canvas.getContext("2d");
  g.strokeStyle = getComputedStyle(canvas).color;
  g.strokeRect(PAD * x - 3.5, PAD * y - 3.5, 7, 7);
}

const HUES = ["blue", "vermilion", "teal", "gold", "plum", "slate"];
const circle = Array.from({ length: 61 }, (_, i) => (2 * Math.PI * i) / 60);
const where = ([a, b]) => `(${format(a)}, ${format(b)})`;

const code = movableCode({
  legend: [["q(z | x), two standard deviations", colour.ink, "", 3], ["z, to drag", colour.vermilion, "", 3]],
  depends: ["strokes", "example"],
  marks: ({ codes, labels }, { q: { mean, std } }) => [
    Plot.text(codes, { x: "0", y: "1", text: labels.map(String), fontSize: 9, clip: true,
      fill: labels.map((label) => colour[HUES[label % HUES.length]]), fillOpacity: 0.75 }),
    Plot.line(circle, { x: (t) => mean[0] + 2 * std[0] * Math.cos(t),
      y: (t) => mean[1] + 2 * std[1] * Math.sin(t), stroke: colour.ink, strokeWidth: 3,
      clip: true }),
  ],
  label: (_, { q: { mean, std }, near }) =>
    `Latent plane with the codes of other digits, each as its class. The ellipse of q(z|x) stands ` +
    `at ${where(mean)}, with standard deviations ${where(std)}; ${near[1]} of the 15 nearest codes ` +
    `are of the digit ${near[0]}.`,
});

export default figure({
  view,
  panels: [
    { mount: pad },
    code.plane,
    {
      size: "6rem",
      pictures: ({ z }, { x, reconstruction, decoded }) => [
        { pixels: x, width: SIDE, text: "x, as the encoder gets it",
          label: "The digit in 28 by 28 black or white pixels" },
        { pixels: reconstruction, width: SIDE, text: "decoded from the mean of q",
          label: "What the decoder makes of the mean of q" },
        { pixels: decoded, width: SIDE, text: "decoded from z",
          label: `What the decoder makes of z = ${where(z)}` },
      ],
    },
    {
      wide: true,
      title: "or take one of these",
      size: "2.6rem",
      pictures: ({ examples }) => imagesOf(examples).map((pixels, i) =>
        ({ pixels, width: SIDE, label: `Digit ${i + 1} of the examples` })),
      press: (_, example) => ({ example, strokes: [] }),
      chosen: ({ example }) => example,
    },
  ],
  controls: [{ button: "Clear the pad", press: () => ({ example: -1, strokes: [] }) }],
  numbers: (_, { terms }) => [
    ["reconstruction term", `${format(terms.reconstruction, 1)} ± ${format(terms.error, 1)} nats`],
    ["minus KL(q ‖ p(z))", nats(-terms.kl, 1)],
    ["ELBO, their sum", nats(terms.elbo, 1)],
    [`log p(x), estimated with ${N_DRAWS} codes`, nats(terms.estimate, 1)],
  ],
  describe: ({ example, strokes, z }, { q, near }) =>
    example < 0 && strokes.length === 0
      ? "An empty pad: draw a digit."
      : `The encoder puts it at ${where(q.mean)}, where ${near[1]} of the 15 nearest codes are of ` +
        `the digit ${near[0]}. z stands at ${where(z)}.`,
});
