// ELBO explorer: log p(x) = ELBO + KL(q || p(z|x)) while the reader moves q.
// Model: z ~ N(0, 1), x | z ~ N(weight z + offset, noise_std^2); q = N(mean, exp(log_std)^2).

const logNormal = (x, mean, std) =>
  -0.5 * ((x - mean) / std) ** 2 - Math.log(std) - 0.5 * Math.log(2 * Math.PI);

/** KL divergence between two normal distributions, in nats. */
export function kl(mean, std, mean0, std0) {
  return Math.log(std0 / std) + (std ** 2 + (mean - mean0) ** 2) / (2 * std0 ** 2) - 0.5;
}

/** Every quantity of the identity, each from its own formula. */
export function terms({ weight, offset, noise_std, x, mean, log_std }) {
  const std = Math.exp(log_std);
  const precision = 1 + (weight / noise_std) ** 2;
  const posteriorMean = (weight * (x - offset)) / noise_std ** 2 / precision;
  const posteriorStd = 1 / Math.sqrt(precision);
  const spread = (weight * std) ** 2 / (2 * noise_std ** 2);
  const reconstruction = logNormal(x, weight * mean + offset, noise_std) - spread;
  const klPrior = kl(mean, std, 0, 1);
  return {
    posteriorMean,
    posteriorStd,
    reconstruction,
    klPrior,
    elbo: reconstruction - klPrior,
    klPosterior: kl(mean, std, posteriorMean, posteriorStd),
    logP: logNormal(x, offset, Math.hypot(weight, noise_std)),
  };
}

const NAMES = ["weight", "offset", "noise_std", "x", "mean", "log_std"];
const read = (model) => Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
const round = (x, digits = 3) => x.toFixed(digits).replace("-", "\u2212");

function make(tag, parent, attributes = {}, text = "") {
  const svg = ["svg", "path", "rect", "line", "text"].includes(tag);
  const node = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

const SLIDERS = [
  ["mean", "mean of q", -3, 3],
  ["log_std", "log of q's standard deviation", -1, 1],
  ["x", "observed x", -3, 3],
];

function slider(model, parent, [name, text, min, max]) {
  const label = make("label", parent);
  make("span", label, {}, text);
  const input = make("input", label, { type: "range", min, max, step: 0.01 });
  const output = make("output", label);
  const show = () => {
    input.value = model.get(name);
    output.textContent = round(model.get(name), 2);
  };
  input.addEventListener("input", () => {
    model.set(name, Number(input.value));
    model.save_changes();
  });
  model.on(`change:${name}`, show);
  show();
}

const WIDTH = 420, FLOOR = 170, RANGE = 4;
const across = (z) => ((z / RANGE + 1) / 2) * WIDTH;

function curve(mean, std) {
  const points = [];
  for (let z = -RANGE; z <= RANGE; z += 0.02) {
    const height = Math.min(140, 120 * Math.exp(logNormal(z, mean, std)));
    points.push(`${across(z).toFixed(1)},${(FLOOR - height).toFixed(1)}`);
  }
  return `M${points.join("L")}`;
}

const CURVES = [
  ["prior", "prior p(z)", 8],
  ["posterior", "posterior p(z|x)", 120],
  ["q", "q(z)", 300],
];

function plotCurves(svg) {
  make("line", svg, { class: "vaebook-axis", x1: 0, x2: WIDTH, y1: FLOOR, y2: FLOOR });
  for (const z of [-3, -2, -1, 0, 1, 2, 3]) {
    const text = String(z).replace("-", "\u2212");
    make("text", svg, { x: across(z), y: FLOOR + 16, "text-anchor": "middle" }, text);
  }
  make("text", svg, { x: WIDTH - 8, y: FLOOR + 16, "text-anchor": "end" }, "z");
  return Object.fromEntries(CURVES.map(([name, text, x]) => {
    make("line", svg, { class: `vaebook-curve vaebook-${name}`, x1: x, x2: x + 26, y1: 12, y2: 12 });
    make("text", svg, { x: x + 32, y: 17 }, text);
    return [name, make("path", svg, { class: `vaebook-curve vaebook-${name}` })];
  }));
}

// The number line: KL is the distance between ELBO and log p(x).
const LINE = 240, LEAST = -8;
const along = (nats) => Math.max(0, 1 - nats / LEAST) * (WIDTH - 10);

function plotLine(svg) {
  make("line", svg, { class: "vaebook-axis", x1: 0, x2: WIDTH - 10, y1: LINE, y2: LINE });
  for (const nats of [-8, -6, -4, -2, 0]) {
    const text = String(nats).replace("-", "\u2212") + (nats === LEAST ? " nats" : "");
    const anchor = nats === LEAST ? "start" : "middle";
    make("text", svg, { x: along(nats), y: LINE + 52, "text-anchor": anchor }, text);
  }
  const gap = make("rect", svg, { class: "vaebook-gap", y: LINE - 10, height: 20 });
  const mark = (name, text, y) => ({
    line: make("line", svg, { class: `vaebook-mark vaebook-${name}`, y1: LINE - 16, y2: LINE + 16 }),
    text: make("text", svg, { class: `vaebook-${name}-text`, y, "text-anchor": "middle" }, text),
  });
  return { gap, elbo: mark("elbo", "ELBO", LINE + 30), logP: mark("log-p", "log p(x)", LINE - 22) };
}

function moveLine({ gap, elbo, logP }, now) {
  for (const [mark, nats] of [[elbo, now.elbo], [logP, now.logP]]) {
    mark.line.setAttribute("x1", along(nats));
    mark.line.setAttribute("x2", along(nats));
    mark.text.setAttribute("x", Math.max(26, along(nats)));
  }
  gap.setAttribute("x", along(now.elbo));
  gap.setAttribute("width", Math.max(0, along(now.logP) - along(now.elbo)));
}

const ROWS = [
  ["reconstruction", "E_q[log p(x|z)]"],
  ["klPrior", "KL(q ‖ p(z))"],
  ["elbo", "ELBO: the first minus the second"],
  ["klPosterior", "KL(q ‖ p(z|x)), the gap"],
  ["sum", "ELBO + KL(q ‖ p(z|x))"],
  ["logP", "log p(x), on its own"],
];

function table(parent) {
  const body = make("tbody", make("table", parent, { class: "vaebook-numbers" }));
  return Object.fromEntries(ROWS.map(([name, text]) => {
    const row = make("tr", body);
    make("th", row, { scope: "row" }, text);
    return [name, make("td", row)];
  }));
}

function render({ model, el }) {
  const root = make("div", el, { class: "vaebook-live" });
  const svg = make("svg", root, { viewBox: `0 0 ${WIDTH} 300`, role: "img" });
  const curves = plotCurves(svg);
  const line = plotLine(svg);
  const controls = make("div", root, { class: "vaebook-controls" });
  SLIDERS.forEach((options) => slider(model, controls, options));
  const button = make("button", controls, { type: "button" }, "Set q to the posterior");
  const cells = table(root);
  const draw = () => {
    const now = terms(read(model));
    curves.prior.setAttribute("d", curve(0, 1));
    curves.posterior.setAttribute("d", curve(now.posteriorMean, now.posteriorStd));
    curves.q.setAttribute("d", curve(model.get("mean"), Math.exp(model.get("log_std"))));
    moveLine(line, now);
    const numbers = { ...now, sum: now.elbo + now.klPosterior };
    for (const [name] of ROWS) cells[name].textContent = `${round(numbers[name])} nats`;
    svg.setAttribute("aria-label", `Densities of prior, posterior and q. ELBO ${round(now.elbo)} ` +
      `plus KL ${round(now.klPosterior)} is log p(x), ${round(now.logP)} nats.`);
  };
  button.addEventListener("click", () => {
    const { posteriorMean, posteriorStd } = terms(read(model));
    model.set("mean", posteriorMean);
    model.set("log_std", Math.log(posteriorStd));
    model.save_changes();
  });
  ["mean", "log_std", "x"].forEach((name) => model.on(`change:${name}`, draw));
  draw();
}

export default { render };
