// The choice of how far back courses go.

import { range, ranges, setRange } from "./courses.js";
import { h } from "./dom.js";

/** Buttons for the ranges; `again` is called when another one was chosen. */
export function rangeBar(again) {
  const choose = (seconds) => () => {
    setRange(seconds);
    again();
  };
  return h("div", { class: "tools", role: "group", "aria-label": "How far back" }, ranges.map(([seconds, label]) =>
    h("button", { type: "button", id: `range-${seconds}`, "aria-pressed": String(range() === seconds), onclick: choose(seconds) }, label)));
}
