// Pools: their size against their load, what they decided and why, and who works in them.

import { chart, fill } from "./charts.js";
import { courses, points } from "./courses.js";
import { h } from "./dom.js";
import { ago, count, dated, duration, instant, number, percent } from "./format.js";
import { meter, sizes } from "./pictures.js";
import { rangeBar } from "./ranges.js";
import { badge } from "./states.js";
import { facts, pages, panel, table } from "./tables.js";

const PAGE = 20;
const NAMES = ["size", "busy", "queue", "throughput", "p50", "p95", "p99"];
const CHARTS = [
  { id: "pool-size", title: "Size against load", unit: "workers and requests", of: ["size", "busy", "queue"], stepped: true },
  { id: "pool-throughput", title: "Throughput", unit: "requests a second", format: number, of: ["throughput"] },
  { id: "pool-latency", title: "Time of a request", unit: "waiting included", format: duration, of: ["p50", "p95", "p99"] },
];
let page = 1;

export default {
  name: "pools",
  title: "Pools",

  async load({ ask }) {
    const [{ pools }, past] = await Promise.all([ask("pools"), courses(ask, NAMES)]);
    return { pools, past };
  },

  opened() {
    page = 1;
  },

  draw({ pools }, context) {
    const one = shown(pools, context.of);
    return [panel("Pools", list(pools, one)), one && detail(one, context)];
  },

  drawn({ pools, past }, { of }) {
    const one = shown(pools, of);
    if (!one) return;
    for (const spec of CHARTS) {
      const series = spec.of.map((name) => ({ label: name, points: points(past, name, one.name) })).filter(({ points }) => points.length > 0);
      fill(spec, { ...past, series });
    }
  },
};

function shown(pools, name) {
  return pools.find((pool) => pool.name === name) ?? pools[0];
}

function list(pools, one) {
  const columns = [
    { label: "Pool", cell: (pool) => h("a", { href: `#/pools/${encodeURIComponent(pool.name)}` }, pool.name) },
    { label: "State", cell: (pool) => badge(pool.state) },
    { label: "Size", num: true, cell: (pool) => `${count(pool.size)} → ${count(pool.target)}` },
    { label: "Limits", num: true, cell: (pool) => `${count(pool.min)} to ${count(pool.max)}` },
    { label: "Busy", num: true, cell: (pool) => count(pool.busy) },
    { label: "Waiting", num: true, cell: (pool) => count(pool.waiting) },
    { label: "Used", wide: true, cell: (pool) => [meter(pool.utilization, pool.utilization >= 0.95 ? "warn" : "", "how much of it is used"), percent(pool.utilization, 2)] },
    { label: "p99", num: true, cell: (pool) => duration(pool.p99) },
    { label: "Strategy", cell: (pool) => pool.strategy },
  ];
  return table("Pools", columns, pools.slice(0, 200), {
    key: (pool) => `row-${pool.name}`, current: (pool) => pool === one, empty: "This instance has no pools.",
  });
}

function detail(pool, { redraw, again }) {
  return [
    h("div", { class: "split", "data-key": `detail-${pool.name}` },
      panel(pool.name, sizes(pool),
        facts([["state", badge(pool.state)], ["busy", count(pool.busy)], ["ready", count(pool.ready)], ["waiting", count(pool.waiting)],
          ["size", `${count(pool.size)}, meant to be ${count(pool.target)}`], ["limits", `${count(pool.min)} to ${count(pool.max)}`],
          ["strategy", pool.strategy], ["engine", pool.engine]])),
      panel("Decisions", decisions(pool.decisions ?? []))),
    h("div", { class: "bar", "data-key": "range" }, h("h2", null, "Over time"), rangeBar(again)),
    h("div", { class: "charts", "data-key": `charts-${pool.name}` }, CHARTS.map((spec) => chart(spec, redraw))),
    panel("Workers", workers(pool.workers ?? [], redraw)),
  ];
}

function decisions(made) {
  if (made.length === 0) return h("p", { class: "empty" }, "Nothing was decided yet: its size is fixed, or it is new.");
  return h("ol", { class: "decisions", tabindex: "0", "aria-label": "Decisions, the newest first" }, made.slice(0, 50).map(({ at, from, to, reasons }) =>
    h("li", { "data-key": `${at} ${from} ${to}` },
      h("span", { class: "quiet", title: instant(at) }, ago(at)),
      from === to ? h("span", null, `stays at ${count(to)}`) : h("strong", null, `${count(from)} → ${count(to)}`),
      h("ul", { class: "what" }, (reasons ?? []).map((reason) => h("li", null, dated(reason)))))));
}

function workers(all, redraw) {
  const last = Math.max(1, Math.ceil(all.length / PAGE));
  page = Math.min(page, last);
  const go = (step) => () => {
    page += step;
    redraw();
  };
  const columns = [
    { label: "Worker", cell: ({ key, id }) => (key ? h("a", { href: `#/agents/${encodeURIComponent(key)}` }, id) : id) },
    { label: "State", cell: ({ busy, ejected }) => (ejected ? badge("ejected") : busy ? "busy" : "free") },
    { label: "Served", num: true, cell: ({ served }) => count(served) },
  ];
  const some = all.slice((page - 1) * PAGE, page * PAGE);
  return [table("Workers", columns, some, { key: ({ key, id }) => key ?? id, empty: "It has no workers." }),
    pages({ page, more: page < last, back: go(-1), on: go(1) })];
}
