// Importance sampling of E[x^2] under a standard normal p, by draws from a Gaussian q that the
// reader moves: weights, effective sample size, and the estimate on its way.

const { Plot, clamp, colour, figure, format, linspace, logNormal, logSumExp, normal, once, random } =
  vaebookLive;

const MOST = 3000;

/** Standard normal noise, the same for the same seed. */
export function noiseOf(seed) {
  const { gaussian } = random(seed);
  return Array.from({ length: MOST }, gaussian);
}

/** Draws from q and the logarithms of their weights p / q. */
export function weighted({ mean, log_std }, noise) {
  const std = Math.exp(log_std);
  return noise.map((e) => {
    const x = mean + std * e;
    return { x, logWeight: logNormal(x) - logNormal(x, mean, std) };
  });
}

/** Effective sample size of logarithms of weights. */
export const effective = (logWeights) =>
  Math.exp(2 * logSumExp(logWeights) - logSumExp(logWeights.map((log) => 2 * log)));

/** Self-normalised average of x^2, and its standard error. */
export function estimate(draws) {
  const total = logSumExp(draws.map((draw) => draw.logWeight));
  const shares = draws.map((draw) => Math.exp(draw.logWeight - total));
  const value = shares.reduce((sum, share, i) => sum + share * draws[i].x ** 2, 0);
  const square = shares.reduce((sum, share, i) => sum + (share * (draws[i].x ** 2 - value)) ** 2, 0);
  return { value, error: Math.sqrt(square) };
}

/** The limit of the effective share for many draws; zero where the weights have no variance. */
export function limitingShare({ mean, log_std }) {
  const variance = Math.exp(2 * log_std);
  const rest = 1 - 1 / (2 * variance);
  if (rest <= 0) return 0;
  const exponent = mean ** 2 / (2 * variance) + (mean / variance) ** 2 / (4 * rest);
  return Math.sqrt((2 * rest) / variance) * Math.exp(-exponent);
}

/** The estimate after more and more draws, by running sums that are carried at one scale. */
export function path(draws) {
  const top = Math.max(...draws.map((draw) => draw.logWeight));
  let w = 0, wx = 0, ww = 0, wwx = 0, wwxx = 0;
  return draws.map(({ x, logWeight }, i) => {
    const weight = Math.exp(logWeight - top), y = x ** 2;
    w += weight; wx += weight * y;
    ww += weight ** 2; wwx += weight ** 2 * y; wwxx += (weight * y) ** 2;
    const value = wx / w;
    const square = Math.max(wwxx - 2 * value * wwx + value ** 2 * ww, 0);
    return { n: i + 1, value, error: Math.sqrt(square) / w };
  });
}

const noiseAt = once(({ noise }) => noiseOf(noise.seed));

function view(state) {
  const draws = weighted(state, noiseAt(state)).slice(0, state.n_draws);
  return { draws, ess: effective(draws.map((draw) => draw.logWeight)), ...estimate(draws) };
}
