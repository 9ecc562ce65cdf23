// Courses over time, drawn by uPlot where bin/assets has fetched it and listed as a table elsewhere, or where somebody wants that.

import { latest } from "./courses.js";
import { h } from "./dom.js";
import { bytes, count } from "./format.js";
import { clock, timeOfDay, zone } from "./times.js";

const MOST = 6;
const DASHES = [[], [6, 3], [2, 2], [10, 3, 2, 3], [1, 4], [12, 4]];
const LISTED = 40;
const MINUTE = 60;
// Steps of an axis: of bytes in powers of two, of counts in whole ones.
const BINARY = Array.from({ length: 44 }, (_, n) => 2 ** n);
const WHOLE = Array.from({ length: 10 }, (_, n) => [1, 2, 5].map((step) => step * 10 ** n)).flat();
const STEPS = new Map([[bytes, BINARY], [count, WHOLE]]);
// By where they are drawn. uPlot itself holds on to whatever is not destroyed.
const plots = new Map();
const listed = new Set();
let library = null;

/** Fetches uPlot; whether it is there. */
export async function prepare() {
  library ??= new Promise((done) => {
    const script = document.createElement("script");
    script.src = "assets/vendor/uPlot.iife.min.js";
    script.onload = () => done(styled());
    script.onerror = () => done(false);
    document.head.append(script);
  });
  return library;
}

function styled() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = "assets/vendor/uPlot.min.css";
  document.head.prepend(link);
  return true;
}

export const available = () => typeof window.uPlot === "function";

/** A chart: `id`, `title`, `unit` and how a value is written (`format`); `fill` draws into it. */
export function chart({ id, title, unit }, redraw) {
  const asList = listed.has(id) || !available();
  const turn = () => {
    if (!listed.delete(id)) listed.add(id);
    redraw();
  };
  return h("figure", { class: "chart panel", "data-key": id, "aria-label": title },
    h("figcaption", null, h("h3", null, title), h("span", { class: "unit" }, unit),
      available() && h("button", { type: "button", "aria-pressed": String(asList), onclick: turn }, "as a table")),
    asList
      ? h("div", { class: "listing", "data-key": "list", id: `chart-${id}`, "data-keep": true, tabindex: "0", role: "region", "aria-label": `${title}, as a table` })
      : h("div", { class: "plot", "data-key": "plot", id: `chart-${id}`, "data-keep": true }));
}

/** Draws series (`{label, points}`) into a chart that is on the page. */
export function fill({ id, format = count, stepped = false, top = null }, { from, step, series }) {
  const place = document.getElementById(`chart-${id}`);
  if (!place) return;
  const some = [...series].sort((a, b) => latest(b.points) - latest(a.points)).slice(0, series.length > MOST ? MOST : undefined);
  const shown = series.length > MOST ? some : series;
  const length = Math.max(0, ...shown.map(({ points }) => points.length));
  const times = Array.from({ length }, (_, n) => from + n * step);
  if (length === 0) {
    destroy(place);
    place.replaceChildren(h("p", { class: "empty" }, "Nothing was recorded yet."));
  } else if (place.classList.contains("listing")) place.replaceChildren(listing(times, shown, format));
  else draw(place, times, shown, { format, stepped, top });
}

// The newest first, and no more than somebody reads.
function listing(times, series, format) {
  const rows = times.map((at, n) => n).reverse().filter((n) => series.some(({ points }) => points[n] !== null)).slice(0, LISTED);
  return h("table", null,
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Time"), series.map(({ label }) => h("th", { scope: "col", class: "num" }, label)))),
    h("tbody", null, rows.map((n) =>
      h("tr", null, h("td", null, clock(times[n])), series.map(({ points }) => h("td", { class: "num" }, format(points[n])))))));
}

function draw(place, times, series, look) {
  const shape = series.map(({ label }) => label).join("\n");
  const known = plots.get(place);
  const data = [times, ...series.map(({ points }) => points)];
  if (known && known.shape === shape && place.contains(known.plot.root)) {
    known.plot.setData(data);
    return;
  }
  destroy(place);
  place.replaceChildren();
  const plot = new window.uPlot(options(place, series, look), data, place);
  plots.set(place, { plot, shape });
  resized.observe(place);
}

function destroy(place) {
  plots.get(place)?.plot.destroy();
  plots.delete(place);
  resized.unobserve(place);
}

/** Destroys the charts whose place is not on the page any more. */
export function tidy() {
  for (const place of [...plots.keys()]) if (!place.isConnected) destroy(place);
}

const resized = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const known = plots.get(target);
    if (known && contentRect.width > 0 && known.plot.width !== Math.floor(contentRect.width)) {
      known.plot.setSize({ width: Math.floor(contentRect.width), height: 150 });
    }
  }
});

function options(place, series, { format, stepped, top }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const paths = stepped ? window.uPlot.paths.stepped({ align: 1 }) : undefined;
  return {
    width: Math.max(200, place.clientWidth), height: 150, padding: [8, 26, 0, 0],
    cursor: { sync: { key: "kantoku" }, drag: { x: false, y: false }, points: { size: 6 } },
    tzDate: (at) => (zone() ? window.uPlot.tzDate(new Date(at * 1000), zone()) : new Date(at * 1000)),
    scales: { x: { time: true }, y: { range: (_plot, _least, most) => [0, top ?? (most > 0 ? most * 1.1 : 1)] } },
    legend: { markers: { dash: (_plot, index) => ["solid", "dashed", "dotted"][(index - 1) % 3] } },
    axes: [
      { ...axis, size: 26, space: 70, values: (_plot, ticks, _axis, _space, step) => ticks.map((at) => tick(at, step)) },
      { ...axis, size: 58, space: 34, incrs: STEPS.get(format), values: (_plot, ticks) => ticks.map((value) => format(value)) },
    ],
    series: [{ value: (_plot, at) => (at === null ? "" : clock(at)) }, ...series.map(({ label, tone }, n) => ({
      label, stroke: colour(`--chart-${(tone ?? n % 6) + 1}`), width: 1.5, dash: DASHES[n % 6], paths, spanGaps: false,
      fill: series.length === 1 ? `${colour("--chart-1")}1f` : undefined, points: { show: false },
      value: (plot, value, index) => format(value ?? (plot.cursor.idx === null || plot.cursor.idx === undefined ? latest(plot.data[index]) : null)),
    }))],
  };
}

function tick(at, step) {
  return step < MINUTE ? timeOfDay(at) : timeOfDay(at).slice(0, 5);
}

/** Has all charts drawn anew, in other colours or another zone. */
export function repaint() {
  for (const place of [...plots.keys()]) {
    destroy(place);
    place.replaceChildren();
  }
}
