// Tables that are lists of cards on a phone. What they are there is no table to a browser, so roles say that it is.

import { h } from "./dom.js";

/**
 * A table of rows. A column is `{label, cell, num, wide}`: what a row has there, whether it is a figure, whether it wants a line of its own on a
 * phone. `key` names a row, `current` says which one is shown elsewhere on the page.
 */
export function table(caption, columns, rows, { key, current, empty = "None." } = {}) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const kind = (column) => [column.num && "num", column.wide && "wide"].filter(Boolean).join(" ") || null;
  return h("table", { class: "stack", role: "table" },
    h("caption", { class: "sr" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => h("th", { scope: "col", role: "columnheader", class: kind(column) }, column.label)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) =>
      h("tr", { role: "row", "data-key": key?.(row), "aria-current": current?.(row) ? "true" : null },
        columns.map((column) => h("td", { role: "cell", class: kind(column), "data-label": column.label }, h("span", null, column.cell(row))))))));
}

/** Facts with their names; those that are unknown are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h("dl", { class: "facts" }, known.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

/** A panel with a heading. */
export function panel(title, ...children) {
  return h("section", { class: "panel", "aria-label": title }, h("h2", null, title), children);
}

/** Pages of what has more of them: `{page, more, back, on}`. */
export function pages({ page, more, back, on }) {
  if (page === 1 && !more) return null;
  return h("div", { class: "bar" },
    h("button", { type: "button", id: "page-back", disabled: page === 1, onclick: back }, "‹ Back"),
    h("span", { class: "quiet" }, `Page ${page}`),
    h("button", { type: "button", id: "page-on", disabled: !more, onclick: on }, "On ›"));
}
