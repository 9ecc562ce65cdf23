// Figures and names as people read them. A figure that is not known is a dash.

export const NONE = "–";
export const missing = (value) => value === null || value === undefined || Number.isNaN(value);
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const digits = (value, most) => new Intl.NumberFormat("en", { maximumSignificantDigits: most }).format(value);

/** A count. */
export function count(value) {
  if (missing(value)) return NONE;
  return Math.abs(value) < 1e6 ? plain.format(value) : `${digits(value / 1e6, 3)} M`;
}

/** So many of something. */
export function many(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A number that need not be whole. */
export function number(value) {
  if (missing(value)) return NONE;
  return Math.abs(value) >= 100 ? count(Math.round(value)) : digits(value, 3);
}

/** A duration of so many seconds: the number and its unit. */
export function span(seconds) {
  if (missing(seconds)) return [NONE, ""];
  const size = Math.abs(seconds);
  if (size === 0) return ["0", "ms"];
  if (size < 1e-3) return [digits(seconds * 1e6, 3), "µs"];
  if (size < 1) return [digits(seconds * 1e3, 3), "ms"];
  if (size < 120) return [digits(seconds, 3), "s"];
  if (size < 3600) return [digits(seconds / 60, 2), "min"];
  if (size < 172800) return [digits(seconds / 3600, 2), "h"];
  return [digits(seconds / 86400, 2), "d"];
}

/** The same as one text. */
export function duration(seconds) {
  return span(seconds).join(" ").trim();
}

/** So many bytes: the number and its unit. */
export function size(bytes) {
  if (missing(bytes)) return [NONE, ""];
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let left = bytes;
  for (; Math.abs(left) >= 1024 && at < units.length - 1; at += 1) left /= 1024;
  return [digits(left, left >= 1000 ? 4 : 3), units[at]];
}

export function bytes(value) {
  return size(value).join(" ").trim();
}

/** A share of 0 to 1 in percent. */
export function percent(share, most = 3) {
  return missing(share) ? NONE : `${digits(share * 100, most)} %`;
}

/** How much of something is kept, which is near 100 %: as many nines as there are. */
export function kept(share) {
  if (missing(share)) return NONE;
  const text = (share * 100).toFixed(share >= 0.9999 && share < 1 ? 4 : 2);
  return `${text.replace(/\.?0+$/, "")} %`;
}

/** What programs say among each other, as a sentence. */
export function sentence(text) {
  const said = String(text);
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

/** The name of a domain; a pool's own is called as the pool. */
export function domainName(name) {
  const own = /^\{:pool, (.+)\}$/s.exec(name ?? "");
  return own ? `pool ${own[1].replace(/^:/, "").replace(/^"(.*)"$/s, "$1")}` : name;
}
