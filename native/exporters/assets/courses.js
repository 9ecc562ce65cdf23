// What the server remembers of the time before: fetched once for all that is drawn from it, and as often as there is something new.

const RANGES = [[300, "5 min"], [900, "15 min"], [3600, "1 h"], [21600, "6 h"], [86400, "24 h"]];
const KEPT = "kantoku.range";
// As many points as a course has at least.
const LEAST = 12;
const cache = new Map();

export const ranges = RANGES;

/** The range that is looked at, in seconds. */
export function range() {
  const kept = Number(localStorage.getItem(KEPT));
  return RANGES.some(([seconds]) => seconds === kept) ? kept : 300;
}

export function setRange(seconds) {
  localStorage.setItem(KEPT, String(seconds));
}

export function nextRange() {
  const at = RANGES.findIndex(([seconds]) => seconds === range());
  setRange(RANGES[(at + 1) % RANGES.length][0]);
}

/** The courses of series by their names, over the range that is looked at: of the instance as a whole, or of a pool. */
export async function courses(ask, names, pool = null) {
  const key = `${names.join()} ${range()} ${pool}`;
  const known = cache.get(key);
  if (known && Date.now() - known.at < known.fresh) return known.answer;
  const answer = begun(await remembered(ask, { series: names.join(), range: range(), pool }));
  cache.clear();
  cache.set(key, { at: Date.now(), fresh: Math.min(60000, Math.max(2000, (answer.step * 1000) / 2)), answer });
  return answer;
}

// Where nothing is kept of the time before, there is nothing to draw, and all else goes on.
async function remembered(ask, wanted) {
  try {
    return await ask("history", wanted);
  } catch (error) {
    if (error.status !== 404) throw error;
    return { step: 10, from: 0, series: [], unkept: 0 };
  }
}

// Without the time before anything was recorded, so that a young VM is not all empty.
function begun({ from, step, series, unkept }) {
  const length = Math.max(0, ...series.map(({ points }) => points.length));
  const first = series.map(({ points }) => points.findIndex((point) => point !== null)).filter((at) => at >= 0);
  const cut = Math.max(0, Math.min(length - LEAST, ...first));
  return { from: from + cut * step, step, unkept, series: series.map((one) => ({ ...one, points: one.points.slice(cut) })) };
}

/** The newest of some points that is known. */
export function latest(points) {
  return points.findLast((point) => point !== null) ?? null;
}

/** Forgets what was fetched, of another instance perhaps. */
export function forget() {
  cache.clear();
}

/** The points of a series of the whole instance, or of a pool. */
export function points(answer, name, pool = null) {
  const found = answer.series.find((series) => series.name === name && (series.labels?.pool ?? null) === pool);
  return found?.points ?? [];
}
