// Pools: their size against their load, what they decided and why, and who works in them.

import { to } from "./address.js";
import { chart, fill } from "./charts.js";
import { courses, points } from "./courses.js";
import { h } from "./dom.js";
import { count, duration, number, percent, sentence } from "./format.js";
import { meter, sizes, swatch } from "./pictures.js";
import { rangeBar } from "./ranges.js";
import { badge } from "./states.js";
import { facts, pages, panel, table } from "./tables.js";
import { ago, dated, instant } from "./times.js";

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

  async load({ ask, of }) {
    const all = await ask("pools");
    const name = of ?? all.pools[0]?.name ?? null;
    const [one, past] = name === null ? [null, null] : await Promise.all([named(ask, name), courses(ask, NAMES, name)]);
    return { ...all, one, past };
  },

  opened() {
    page = 1;
  },

  draw({ pools, total, one, past }, context) {
    return [
      panel("Pools", list(pools, one), total > pools.length && h("p", { class: "quiet" }, `These are ${count(pools.length)} of ${count(total)}, the worst first.`)),
      one ? detail(one, past, context) : context.of && h("p", { class: "note" }, `There is no pool ${context.of}.`),
    ];
  },

  drawn({ one, past }) {
    if (!one) return;
    for (const spec of CHARTS) {
      const series = spec.of.map((name) => ({ label: name, points: points(past, name, one.name) })).filter(({ points }) => points.length > 0);
      fill(spec, { ...past, series: spec.stepped && series.length > 0 ? [...series, ...meant(one, past, series[0].points.length)] : series });
    }
  },
};

// Where its size was meant to be, as far back as its decisions go, and the most it may have now. Of a fixed size there is nothing to decide.
function meant({ target, max, decisions = [] }, { from, step }, length) {
  const at = (n) => from + n * step;
  const decided = (n) => decisions.find((decision) => decision.at <= at(n))?.to ?? null;
  const goals = Array.from({ length }, (_, n) => (decisions.length === 0 ? target : decided(n)));
  return [{ label: "meant to be", points: goals, tone: 3 }, { label: "at most", points: Array(length).fill(max ?? null), tone: 5 }];
}

// With its workers and decisions; one that ended meanwhile is none.
async function named(ask, name) {
  try {
    return (await ask("pools", { name })).pools[0];
  } catch (error) {
    if (error.status !== 404) throw error;
    return null;
  }
}

function list(pools, one) {
  const columns = [
    { label: "Pool", cell: (pool) => h("a", { href: to("pools", pool.name) }, pool.name) },
    { label: "State", cell: (pool) => badge(pool.state) },
    { label: "Size", num: true, cell: (pool) => [h("b", null, count(pool.size)), lacking(pool)] },
    { label: "Limits", num: true, cell: (pool) => `${count(pool.min)} to ${count(pool.max)}` },
    { label: "Busy", num: true, cell: (pool) => count(pool.busy) },
    { label: "Waiting", num: true, cell: (pool) => count(pool.waiting) },
    { label: "Used", cell: (pool) => [meter(pool.utilization, pool.utilization >= 0.95 ? "warn" : "", "how much of it is used"), percent(pool.utilization, 2)] },
    { label: "p99", num: true, cell: (pool) => duration(pool.p99) },
    { label: "Strategy", cell: (pool) => worded(pool.strategy) },
  ];
  return table("Pools", columns, pools, {
    key: (pool) => `row-${pool.name}`, current: (pool) => pool.name === one?.name, empty: "This instance has no pools.",
  });
}

// Of more pools than the history has room for, some have none.
function forgotten({ series, unkept }) {
  return unkept > 0 && series.length === 0 && h("p", { class: "note" }, `The history of this VM is full: there is no room for ${count(unkept)} courses, and this pool's are among them.`);
}

function detail(pool, past, { redraw, again }) {
  return [
    h("div", { class: "split", "data-key": `detail-${pool.name}` },
      panel(pool.name, sizes(pool),
        facts([["state", badge(pool.state)], ["because of", pool.reason], ["busy", [swatch("full"), count(pool.busy)]], ["workers", [swatch("ready"), count(pool.size), lacking(pool)]],
          ["meant to be", [swatch("mark"), count(pool.target)]], ["ready", count(pool.ready)], ["waiting", count(pool.waiting)], ["limits", `${count(pool.min)} to ${count(pool.max)}`],
          ["strategy", worded(pool.strategy)], ["engine", pool.engine]])),
      panel("Decisions", decisions(pool.decisions ?? []))),
    h("div", { class: "bar", "data-key": "range" }, h("h2", null, "Over time"), rangeBar(again)), forgotten(past),
    h("div", { class: "charts", "data-key": `charts-${pool.name}` }, CHARTS.map((spec) => chart(spec, redraw))),
    panel("Workers", workers(pool.workers ?? [], redraw),
      pool.workers_total > pool.workers.length && h("p", { class: "quiet" }, `These are ${count(pool.workers.length)} of ${count(pool.workers_total)}.`)),
  ];
}

function decisions(made) {
  if (made.length === 0) return h("p", { class: "empty" }, "Nothing was decided yet: its size is fixed, or it is new.");
  return h("ol", { class: "decisions", tabindex: "0", "aria-label": "Decisions, the newest first" }, made.slice(0, 50).map(({ at, from, to: wanted, reasons }, n) =>
    h("li", { "data-key": `${at} ${from} ${wanted}` },
      h("span", { class: "quiet", title: instant(at) }, ago(at)),
      outcome(made[n + 1]?.to ?? from, from, wanted),
      h("ul", { class: "what" }, (reasons ?? []).map((reason) => h("li", null, sentence(dated(reason))))))));
}

// Workers that were killed and come back change the size, and nothing that was decided of it.
function outcome(before, there, wanted) {
  if (before !== wanted) return h("strong", null, `${count(before)} → ${count(wanted)}`);
  const lack = there < wanted ? `, ${count(there)} are there` : there > wanted ? `, ${count(there)} are there still` : "";
  return h("span", null, `stays at ${count(wanted)}`, lack && h("span", { class: "quiet" }, lack));
}

function lacking({ size, target }) {
  const lack = target - size;
  if (!lack) return null;
  return h("span", { class: "quiet" }, lack > 0 ? `, ${count(lack)} missing` : `, ${count(-lack)} too many`);
}

function worded(name) {
  return name?.replaceAll("_", " ");
}

function workers(all, redraw) {
  const last = Math.max(1, Math.ceil(all.length / PAGE));
  page = Math.min(page, last);
  const go = (step) => () => {
    page += step;
    redraw();
  };
  const columns = [
    { label: "Worker", cell: ({ key, id }) => (key ? h("a", { href: to("agents", key) }, id) : id) },
    { label: "State", cell: ({ busy, ejected }) => (ejected ? badge("ejected") : busy ? "busy" : "free") },
    { label: "Served", num: true, cell: ({ served }) => count(served) },
  ];
  const some = all.slice((page - 1) * PAGE, page * PAGE);
  return [table("Workers", columns, some, { key: ({ key, id }) => key ?? id, empty: "It has no workers." }),
    pages({ page, more: page < last, back: go(-1), on: go(1) })];
}
