// Small pictures: a fleet as a field of squares, sizes as a meter, a course as a line.

import { h, s } from "./dom.js";
import { count } from "./format.js";
import { look, mark, outline } from "./states.js";

const WIDE = 24;
const MOST = 96;
// The ones that want to be seen come first.
const HEALTH = ["unhealthy", "degraded", "parked", "starting", "unknown", "healthy"];

/** A field of squares, one for so many agents each, in which no state that is there is left out; and its legend, with an address for each state. */
export function field(health, label, address = () => null) {
  const states = HEALTH.filter((state) => health[state] > 0);
  const total = states.reduce((sum, state) => sum + health[state], 0);
  const each = Math.max(1, Math.ceil(total / MOST));
  let at = 0;
  const paths = states.map((state) => {
    const cells = Math.max(1, Math.round(health[state] / each));
    const d = Array.from({ length: cells }, (_, n) => moved(outline(state), (at + n) % WIDE, Math.floor((at + n) / WIDE))).join("");
    at += cells;
    return s("path", { class: look(state).tone, d, "fill-rule": "evenodd" });
  });
  const rows = Math.max(1, Math.ceil(at / WIDE));
  const text = states.map((state) => `${count(health[state])} ${state}`).join(", ") || "no agents";
  return [
    total > 0 && s("svg", { class: "picture", viewBox: `0 0 ${WIDE * 11} ${rows * 11}`, role: "img", "aria-label": `${label}: ${text}` }, paths),
    h("ul", { class: "legend" }, states.map((state) => h("li", null, mark(state), linked(address(state), h("b", null, count(health[state])), ` ${state}`))),
      total === 0 && h("li", null, "no agents"), each > 1 && h("li", null, `a square is ${count(each)}`)),
  ];
}

function linked(href, ...what) {
  return href ? h("a", { href }, what) : what;
}

// A shape's absolute starts and its crossings, put where its cell is.
function moved(path, column, row) {
  const [dx, dy] = [column * 11, row * 11];
  let tokens = path.match(/[a-zA-Z]|-?\d*\.?\d+/g);
  let command = "M";
  let index = 0;
  return tokens.map((token) => {
    if (/[a-zA-Z]/.test(token)) {
      command = token;
      index = 0;
      return token;
    }
    const shift = { M: [dx, dy], L: [dx, dy], H: [dx], V: [dy] }[command];
    const value = shift ? Number(token) + shift[index % shift.length] : Number(token);
    index += 1;
    return `${+value.toFixed(2)} `;
  }).join("");
}

/** A pool's size: what is busy, what is ready, and where it is meant to be, on a rail as long as it may become. */
export function sizes(pool) {
  const most = Math.max(pool.max ?? 0, pool.size ?? 0, pool.target ?? 0, 1);
  const at = (value) => (100 * Math.min(value ?? 0, most)) / most;
  const busy = Math.min(pool.busy ?? 0, pool.size ?? 0);
  const text = `${count(busy)} busy of ${count(pool.size)}, meant to be ${count(pool.target)}, at most ${count(most)}`;
  return s("svg", { class: "meter", viewBox: "0 0 100 14", preserveAspectRatio: "none", role: "img", "aria-label": text },
    s("rect", { class: "rail", x: 0, y: 2, width: 100, height: 10, "vector-effect": "non-scaling-stroke" }),
    pool.size > 0 && s("rect", { class: "ready", x: 0, y: 2, width: at(pool.size), height: 10, "vector-effect": "non-scaling-stroke" }),
    s("rect", { class: "full", x: 0, y: 2, width: at(busy), height: 10 }),
    s("line", { class: "halo", x1: at(pool.target), x2: at(pool.target), y1: 0, y2: 14, "vector-effect": "non-scaling-stroke" }),
    s("line", { class: "mark", x1: at(pool.target), x2: at(pool.target), y1: 0, y2: 14, "vector-effect": "non-scaling-stroke" }));
}

/** What a part of a pool's meter looks like, for a legend: what is `full`, what is `ready`, and the `mark`. */
export function swatch(part) {
  return s("svg", { class: "meter swatch", viewBox: "0 0 14 14", "aria-hidden": "true" },
    part === "mark" ? s("line", { class: part, x1: 7, x2: 7, y1: 1, y2: 13 }) : s("rect", { class: part, x: 2, y: 2, width: 10, height: 10 }));
}

/** A share of 0 to 1. */
export function meter(share, tone, label) {
  const full = 100 * Math.max(0, Math.min(1, share ?? 0));
  return s("svg", { class: "meter", viewBox: "0 0 100 14", preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("rect", { class: "rail", x: 0, y: 2, width: 100, height: 10, "vector-effect": "non-scaling-stroke" }),
    s("rect", { class: `full ${tone ?? ""}`, x: 0, y: 2, width: full, height: 10 }));
}

/** The course of a series, without figures. */
export function spark(points) {
  const known = (points ?? []).filter((point) => point !== null);
  if (known.length < 2) return s("svg", { class: "spark", viewBox: "0 0 100 28", "aria-hidden": "true" });
  const top = Math.max(...known, 1e-9) * 1.15;
  const place = (point, n) => `${((100 * n) / (points.length - 1)).toFixed(2)} ${(28 - (26 * point) / top).toFixed(2)}`;
  const runs = [];
  points.forEach((point, n) => {
    if (point === null) runs.push([]);
    else if (runs.length === 0) runs.push([place(point, n)]);
    else runs.at(-1).push(place(point, n));
  });
  const drawn = runs.filter((run) => run.length > 1);
  const line = drawn.map((run) => `M${run.join("L")}`).join("");
  const under = drawn.map((run) => `M${run.join("L")}L${run.at(-1).split(" ")[0]} 28L${run[0].split(" ")[0]} 28Z`).join("");
  return s("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("path", { class: "under", d: under }), s("path", { class: "line", d: line }));
}
