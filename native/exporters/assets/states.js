// What states look like: each a shape and a word, and a colour besides.

import { h, s } from "./dom.js";

// Drawn in a square of 10.
const SHAPES = {
  full: "M1 1h8v8H1z",
  triangle: "M5 .6 9.6 9.2H.4z",
  cross: "M2.2.8 5 3.6 7.8.8 9.2 2.2 6.4 5l2.8 2.8-1.4 1.4L5 6.4 2.2 9.2.8 7.8 3.6 5 .8 2.2z",
  ring: "M1 1h8v8H1zM3.4 3.4v3.2h3.2V3.4z",
  pause: "M1.5 1h2.6v8H1.5zM5.9 1h2.6v8H5.9z",
  dot: "M3.4 3.4h3.2v3.2H3.4z",
};

const STATES = {
  ok: ["ok", "full", ["healthy", "ready", "closed", "up", "serving", "ok", "enforce", "resolved", "steady"]],
  warn: ["warn", "triangle", ["degraded", "half_open", "scaling", "draining", "pending", "restarting", "starting", "restart", "moving", "warning", "ticket", "at_risk", "canary", "shadow"]],
  bad: ["bad", "cross", ["unhealthy", "open", "forced_open", "firing", "critical", "page", "reverted"]],
  out: ["bad", "ring", ["ejected"]],
  rest: ["rest", "pause", ["parked", "stopped", "paused"]],
};

const KNOWN = new Map(Object.values(STATES).flatMap(([tone, shape, names]) => names.map((name) => [name, { tone, shape }])));
const UNKNOWN = { tone: "none", shape: "dot" };

/** How a state is drawn: its tone and its shape. */
export function look(state) {
  return KNOWN.get(state) ?? UNKNOWN;
}

/** The outline of a state's shape. */
export function outline(state) {
  return SHAPES[look(state).shape];
}

/** The mark of a state alone. */
export function mark(state) {
  return s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("path", { class: look(state).tone, d: outline(state), "fill-rule": "evenodd" }));
}

/** A state as its mark and its word. */
export function badge(state, word = state) {
  if (state === null || state === undefined) return h("span", { class: "quiet" }, "–");
  const { tone } = look(state);
  return h("span", { class: `badge ${tone === "none" ? "" : tone}` }, mark(state), String(word).replaceAll("_", " "));
}
