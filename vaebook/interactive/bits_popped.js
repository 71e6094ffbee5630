// Bits popped and pushed: bits-back coding of a few small images, one step at a time. The message
// is one number, in exact arithmetic. Model: z is one of a few codes, x one of a few images.

const { Plot, colour, figure, format } = vaebookLive;

const TOTAL = 2 ** 24;

/** Cumulative sums, from 0. */
const sums = (values) => values.reduce((all, value) => [...all, all.at(-1) + value], [0]);

/** Rounded cumulative distribution, in 2^24ths, of which no symbol has 0. */
export function quantise(p) {
  const total = sums(p).at(-1);
  return sums(p).map((value, j) => j + Math.floor((TOTAL - p.length) * (value / total)));
}

/** A number with a symbol pushed on it; numbers are texts, for they are long. */
export function push(n, symbol, cdf) {
  const start = BigInt(cdf[symbol]), mass = BigInt(cdf[symbol + 1] - cdf[symbol]);
  return String((BigInt(n) / mass) * BigInt(TOTAL) + start + (BigInt(n) % mass));
}

/** The symbol on top of a number, and the number without it. */
export function pop(n, cdf) {
  const place = BigInt(n) % BigInt(TOTAL);
  const symbol = cdf.findLastIndex((start) => BigInt(start) <= place);
  const start = BigInt(cdf[symbol]), mass = BigInt(cdf[symbol + 1] - cdf[symbol]);
  return [symbol, String(mass * (BigInt(n) / BigInt(TOTAL)) + place - start)];
}

/** Weights of q(z | x): the posterior, the prior, or the best code and hardly another. */
export function weights({ likelihood, q }, x) {
  const joint = likelihood.map((row) => row[x]);
  if (q === "prior") return joint.map(() => 1);
  return q === "best" ? joint.map((p) => (p === Math.max(...joint) ? 1e6 : 1)) : joint;
}

const shares = (cdf) => cdf.slice(1).map((end, j) => (end - cdf[j]) / TOTAL);

/** Negative ELBO of an image, in bits. */
export function bound(state, x) {
  const { likelihood } = state;
  return shares(quantise(weights(state, x))).reduce((total, p, z) => {
    const given = shares(quantise(likelihood[z]))[x];
    return total + p * (Math.log2(p) - Math.log2(given) + Math.log2(likelihood.length));
  }, 0);
}

const bits = (n) => Math.log2(Number(n));

/** All steps: what is done, to which symbol, with which distribution, and the number after it. */
export function trace(state) {
  const { likelihood, images, message } = state;
  const prior = quantise(likelihood.map(() => 1));
  const steps = [{ n: message, kind: "start" }];
  for (const x of images) {
    const q = quantise(weights(state, x));
    const [z, rest] = pop(steps.at(-1).n, q);
    steps.push({ kind: "pop-z", symbol: z, cdf: q, n: rest });
    const given = quantise(likelihood[z]);
    steps.push({ kind: "push-x", symbol: x, cdf: given, n: push(rest, x, given) });
    steps.push({ kind: "push-z", symbol: z, cdf: prior, n: push(steps.at(-1).n, z, prior) });
  }
  return steps;
}

const LOOK = {
  "pop-z": [colour.vermilion, "z popped, with q(z | x)"],
  "push-x": [colour.blue, "x pushed, with p(x | z)"],
  "push-z": [colour.teal, "z pushed, with p(z)"],
};

function view(state) {
  const steps = trace(state);
  const whole = Math.floor(state.done / 3);
  const ideal = sums(state.images.map((x) => bound(state, x)));
  return { steps, shown: steps.slice(0, state.done + 1), last: steps[state.done], whole, ideal };
}

const lengths = {
  wide: true,
  height: 230,
  legend: [...Object.values(LOOK).map(([hue, text]) => [text, hue, "", 7]),
    ["length at first", colour.slate, "1 3"], ["plus the negative ELBOs", colour.ink, "4 3"]],
  plot: ({ images }, { steps, shown, ideal }) => {
    const from = bits(steps[0].n);
    return {
      x: { domain: [0, 3 * images.length + 0.6], label: "steps done",
        ticks: images.map((_, i) => 3 * (i + 1)) },
      y: { domain: [Math.min(...steps.map(({ n }) => bits(n))) - 1,
        Math.max(...steps.map(({ n }) => bits(n)), from + ideal.at(-1)) + 1], grid: true,
        label: "length, bits" },
      marks: [
        Plot.ruleY([from], { stroke: colour.slate, strokeWidth: 2, strokeDasharray: "1 3" }),
        Plot.rect(shown.slice(1), { x1: (_, i) => i + 0.6, x2: (_, i) => i + 1.4,
          y1: (_, i) => Math.min(bits(shown[i].n), bits(shown[i + 1].n)),
          y2: (_, i) => Math.max(bits(shown[i].n), bits(shown[i + 1].n)),
          fill: ({ kind }) => LOOK[kind][0] }),
        Plot.line(ideal, { x: (_, i) => 3 * i, y: (value) => from + value, stroke: colour.ink,
          strokeDasharray: "4 3", strokeWidth: 1.6 }),
      ],
    };
  },
  label: ({ done }, { last }) =>
    `A block for each step, from the length of the message before it to that after it. After ${done} steps it is ` +
    `${format(bits(last.n))} bits.`,
};

const range = {
  wide: true,
  height: 84,
  title: "The last step: the distribution that it used, and the symbol",
  plot: (_, { last }, width) => {
    const cdf = last.cdf ?? [0, TOTAL];
    const parts = cdf.slice(1).map((end, j) => ({ from: cdf[j] / TOTAL, to: end / TOTAL, j }));
    const name = last.kind === "push-x" ? "x" : "z";
    const wide = parts.filter(({ from, to }) => (to - from) * width > 48);
    return {
      x: { domain: [0, 1], label: "probability" },
      y: { domain: [0, 1], axis: null },
      marginTop: 6, marginBottom: 36, marginLeft: 20, marginRight: 20,
      marks: [
        Plot.rect(parts, { x1: "from", x2: "to", y1: 0, y2: 1, stroke: colour.ink,
          fill: ({ j }) => (j === last.symbol ? LOOK[last.kind][0] : colour.paper),
          fillOpacity: 0.35 }),
        last.cdf && Plot.text(wide, { x: ({ from, to }) => (from + to) / 2, y: 0.5,
          text: ({ j }) => `${name} = ${j}` }),
      ],
    };
  },
  label: (_, { last }) => last.cdf
    ? `A bar from 0 to 1, cut into ${last.cdf.length - 1} ranges; that of symbol ${last.symbol} is ` +
      `${format(shares(last.cdf)[last.symbol])} wide.`
    : "An empty bar: no step is done yet.",
};

export default figure({
  view,
  panels: [lengths, range],
  controls: ({ images }) => [
    { slider: "done", label: "steps done (back: the receiver)", min: 0, max: 3 * images.length,
      step: 1, format: (value) => format(value, 0) },
    { choice: "q", label: "q(z | x)", options: [["posterior", "the posterior"],
      ["prior", "the prior"], ["best", "only the best z"]] },
    { play: "Send all", every: 500,
      advance: ({ done, images: all }) => (done < 3 * all.length ? { done: done + 1 } : null) },
  ],
  numbers: ({ message }, { last, whole, ideal, steps }) => [
    ["message, a number", last.n],
    ["its length", `${format(bits(last.n))} bits`],
    ["price of the images that are done", `${format(bits(steps[3 * whole].n) - bits(message))} bits`],
    ["their negative ELBOs together", `${format(ideal[whole])} bits`],
  ],
  describe: ({ done }, { last, steps }) => {
    if (!done) return "The message that is there before.";
    const change = bits(last.n) - bits(steps[done - 1].n);
    const [act, name] = last.kind.split("-");
    return act === "pop"
      ? `Popped ${name} = ${last.symbol}: the message is ${format(-change)} bits shorter.`
      : `Pushed ${name} = ${last.symbol}: the message is ${format(change)} bits longer.`;
  },
});
