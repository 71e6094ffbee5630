// A hidden Markov model on its trellis: one column a day, one row a state. The reader changes what
// was observed. An observation is the number of a symbol, or -1 for a day without one.

const { Plot, colour, figure, format, list, word } = vaebookLive;

const sum = (values) => values.reduce((total, value) => total + value, 0);
const scaled = (values) => values.map((value) => value / sum(values));
const range = (n) => [...Array(n).keys()];

/** Probability of each day's observation in each state; one where nothing was observed. */
const likelihoods = ({ emission, observations }) =>
  observations.map((x) => emission.map((row) => (x < 0 ? 1 : row[x])));

/** p(z_t | x_1..t) for each day, and log p(x) of the whole sequence. */
export function forward(model) {
  let logP = 0;
  const days = [];
  likelihoods(model).forEach((likelihood, t) => {
    const before = t === 0 ? model.start : model.start.map((_, k) =>
      sum(days[t - 1].map((p, j) => p * model.transition[j][k])));
    const joint = before.map((p, k) => p * likelihood[k]);
    logP += Math.log(sum(joint));
    days.push(scaled(joint));
  });
  return { days, logP };
}

/** p(x_t+1..T | z_t) for each day, each day's scaled to the sum one. */
export function backward(model) {
  const after = likelihoods(model);
  const days = [scaled(model.start.map(() => 1))];
  for (let t = after.length - 1; t > 0; t--)
    days.unshift(scaled(model.transition.map((row) =>
      sum(row.map((a, k) => a * after[t][k] * days[0][k])))));
  return days;
}

/** p(z_t | x_1..T) for each day. */
export const posterior = (model) => {
  const past = forward(model).days, future = backward(model);
  return past.map((day, t) => scaled(day.map((p, k) => p * future[t][k])));
};

/** p(z_t = j, z_t+1 = k | x_1..T) for each day but the last. */
export function pairs(model) {
  const past = forward(model).days, future = backward(model), seen = likelihoods(model);
  return past.slice(1).map((_, t) => {
    const joint = past[t].map((p, j) => model.transition[j].map((a, k) =>
      p * a * seen[t + 1][k] * future[t + 1][k]));
    const total = sum(joint.flat());
    return joint.map((row) => row.map((value) => value / total));
  });
}

/** The most probable path, and the logarithm of its joint probability with the observations. */
export function viterbi(model) {
  const seen = likelihoods(model).map((day) => day.map(Math.log));
  let best = model.start.map((p, k) => Math.log(p) + seen[0][k]);
  const from = [];
  for (const day of seen.slice(1)) {
    const arrivals = day.map((_, k) => best.map((value, j) => value + Math.log(model.transition[j][k])));
    from.push(arrivals.map((values) => values.indexOf(Math.max(...values))));
    best = arrivals.map((values, k) => Math.max(...values) + day[k]);
  }
  const path = [best.indexOf(Math.max(...best))];
  for (const step of from.toReversed()) path.unshift(step[path[0]]);
  return { path, logP: Math.max(...best) };
}

const VIEWS = {
  forward: "the days so far (forward)",
  backward: "the days to come, scaled (backward)",
  posterior: "the whole diary (posterior)",
};

function view(state) {
  const past = forward(state);
  const days = { forward: past.days, backward: backward(state), posterior: posterior(state) };
  return { days, logP: past.logP, best: viterbi(state), steps: pairs(state) };
}

const share = (p) => `${format(100 * p, 0)}%`;
const said = ({ symbols }, x) => (x < 0 ? "not seen" : symbols[x]);
const observe = (state, day, x) =>
  ({ day, carried: x, observations: state.observations.with(day - 1, x) });
const LOWEST = -0.6; // the observations stand beneath the last state, which is at one

const trellis = {
  wide: true,
  height: 310,
  legend: [["most probable path", colour.vermilion, "7 4", 3]],
  plot: (state, { days, best, steps }, width) => {
    const n = state.states.length, last = state.observations.length;
    const narrow = width < 500; // then the names of the symbols stand upright
    const place = range(last).flatMap((t) => range(n).map((k) =>
      ({ t: t + 1, k: n - k, p: days[state.shown][t][k] })));
    const links = range(last - 1).flatMap((t) => range(n).flatMap((j) => range(n).map((k) => ({
      t: t + 1, j: n - j, k: n - k,
      p: state.shown === "posterior" ? steps[t][j][k] : state.transition[j][k] / 3,
    }))));
    return {
      x: { domain: [0.6, last + 0.4], label: null, ticks: range(last).map((t) => t + 1),
        tickFormat: (t) => (narrow ? String(t) : `day ${t}`), tickSize: 0 },
      y: { domain: [LOWEST, n + 0.5], label: null, ticks: range(n).map((k) => k + 1),
        tickFormat: (y) => state.states[n - y], tickSize: 0 },
      r: { domain: [0, 1], range: [0, 20] },
      marginLeft: 46, marginRight: 6, marginTop: 6, marginBottom: 28,
      marks: [
        Plot.rect([state.day], { x1: state.day - 0.4, x2: state.day + 0.4, y1: LOWEST, y2: n + 0.5,
          fill: colour.gold, fillOpacity: 0.16 }),
        Plot.link(links, { x1: "t", x2: (link) => link.t + 1, y1: "j", y2: "k",
          stroke: colour.slate, strokeWidth: (link) => 10 * link.p, strokeOpacity: 0.5 }),
        Plot.line(state.path ? best.path : [], { x: (_, t) => t + 1, y: (k) => n - k,
          stroke: colour.vermilion, strokeWidth: 3, strokeDasharray: "7 4" }),
        Plot.dot(place, { x: "t", y: "k", r: "p", fill: colour.blue }),
        Plot.text(place, { x: "t", y: "k", text: ({ p }) => share(p), dy: -26,
          stroke: colour.paper, strokeWidth: 7, fill: colour.ink }),
        Plot.text(state.observations, { x: (_, t) => t + 1, y: LOWEST / 2 + 0.25,
          text: (x) => said(state, x), rotate: narrow ? -90 : 0 }),
      ],
    };
  },
  label: (state, { days, best }) =>
    `Trellis of ${state.observations.length} days. Probabilities given ${VIEWS[state.shown]}: ` +
    days[state.shown].map((day, t) => `day ${t + 1}, ${said(state, state.observations[t])}: ` +
      list(day.map((p, k) => `${state.states[k]} ${share(p)}`))).join(word("; ")) +
    `. Most probable path: ${list(best.path.map((k) => state.states[k]))}.`,
  // A click chooses the day; on the day that is chosen, the next symbol.
  press: (state, x) => {
    const day = Math.round(x), now = state.observations[day - 1];
    const next = now + 1 < state.symbols.length ? now + 1 : -1;
    return day === state.day ? observe(state, day, next) : { day, carried: now };
  },
};

export default figure({
  view,
  panels: [trellis],
  controls: ({ observations, symbols }) => [
    { choice: "day", label: "day", options: observations.map((_, t) => [t + 1, String(t + 1)]),
      set: (state, day) => ({ day, carried: state.observations[day - 1] }) },
    { choice: "carried", label: "she carried",
      options: [...symbols.map((symbol, x) => [x, symbol]), [-1, "not seen"]],
      set: (state, x) => observe(state, state.day, x) },
    { choice: "shown", label: "given", options: Object.entries(VIEWS) },
    { toggle: "path", label: "draw the most probable path" },
  ],
  numbers: (state, { days, logP, best }) => [
    ["log p(diary)", `${format(logP, 3)} nats`],
    ["share of the most probable path among all paths", share(Math.exp(best.logP - logP))],
    ["days on which it differs from the most probable state of the day", String(best.path.filter(
      (k, t) => days.posterior[t][k] < Math.max(...days.posterior[t])).length)],
  ],
  describe: (state, { days }) => `Day ${state.day}, ${said(state, state.observations[state.day - 1])}: ` +
    list(state.states.map((name, k) => `${name} ${share(days[state.shown][state.day - 1][k])}`)) +
    ` given ${VIEWS[state.shown]}.`,
});
