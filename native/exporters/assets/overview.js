// How the instance is, at one look.

import { to } from "./address.js";
import { chart, fill } from "./charts.js";
import { courses, latest, points } from "./courses.js";
import { h } from "./dom.js";
import { bytes, count, domainName, duration, many, number, percent, size, span } from "./format.js";
import { field, sizes, spark, swatch } from "./pictures.js";
import { rangeBar } from "./ranges.js";
import { badge, mark } from "./states.js";
import { panel } from "./tables.js";

const NAMES = ["throughput", "p50", "p95", "p99", "queue", "restarts", "agents", "memory", "cpu"];

const CHARTS = [
  { id: "throughput", title: "Throughput", unit: "requests a second", format: number, of: ["throughput"] },
  { id: "latency", title: "Time of a request", unit: "waiting included", format: duration, of: ["p50", "p95", "p99"] },
  { id: "queue", title: "Queue", unit: "requests that wait", of: ["queue"] },
  { id: "restarts", title: "Restarts", unit: "of agents, a second", format: number, of: ["restarts"] },
  { id: "agents", title: "Agents", unit: "that are registered", of: ["agents"] },
  { id: "memory", title: "Memory", unit: "of the VM", format: bytes, of: ["memory"] },
  { id: "cpu", title: "Schedulers", unit: "how busy they are", format: percent, of: ["cpu"], top: 1 },
];

export default {
  name: "overview",
  title: "Overview",

  async load({ ask }) {
    const [now, past] = await Promise.all([ask("overview"), courses(ask, NAMES)]);
    return { now, past };
  },

  counts({ now }) {
    return { alerts: now.alerts, breakers: now.breakers?.open };
  },

  draw({ now, past }, { redraw, again }) {
    return [
      tiles(now, past),
      fleet(now),
      h("div", { class: "bar" }, h("h2", null, "Over time"), rangeBar(again)),
      h("div", { class: "charts" }, CHARTS.map((spec) => chart(spec, redraw))),
    ];
  },

  drawn({ past }) {
    for (const spec of CHARTS) {
      const series = spec.of.map((name) => ({ label: name, points: points(past, name) })).filter(({ points }) => points.length > 0);
      fill(spec, { ...past, series });
    }
  },
};

function tiles(now, past) {
  const course = (name) => spark(points(past, name));
  const { latency, queue, restarts, vm, seconds } = now;
  const late = (text) => (seconds === null ? "nothing is known of late yet" : `${text}, in ${duration(Math.round(seconds)).replace(" ", "\u00a0")}`);
  return h("div", { class: "tiles" },
    tile("Throughput", [number(now.throughput?.per_second), "/s"], late("requests of pools"), course("throughput")),
    tile("p50", span(latency?.p50), late("half are no slower"), course("p50")),
    tile("p95", span(latency?.p95), late("one in 20 is slower"), course("p95")),
    tile("p99", span(latency?.p99), late("one in 100 is slower"), course("p99")),
    tile("Waiting", [count(queue?.waiting), ""], "requests in queues", course("queue")),
    tile("Restarts", [count(restarts?.last_minute), seconds === null ? "" : `in ${duration(Math.round(seconds))}`], `${count(restarts?.total)} in all`, course("restarts")),
    tile("Alerts", [count(now.alerts), ""], worry(now), null, now.alerts > 0 ? "firing" : null, to("alerts")),
    tile("Breakers", [count(now.breakers?.open), "open"], `${count(now.breakers?.half_open)} half open, ${count(now.breakers?.closed)} closed`, null,
      now.breakers?.open > 0 ? "open" : null, to("breakers")),
    tile("Memory", size(vm?.memory), `${count(vm?.processes)} processes`, course("memory")),
    tile("Schedulers", [percent(vm?.schedulers?.utilization ?? latest(points(past, "cpu")), 2), `of ${count(vm?.schedulers?.online)}`], `${count(vm?.run_queue)} wait to run`, course("cpu")));
}

function tile(label, [value, unit], more, picture, state, link) {
  return h("section", { class: "panel tile", "data-key": `tile-${label}`, id: `tile-${label.toLowerCase()}` },
    h("h2", { class: "label badge" }, state && mark(state), link ? h("a", { href: link }, label) : label),
    h("p", { class: "value" }, value, unit && [" ", h("small", null, unit)]),
    h("p", { class: "more" }, more), picture);
}

function worry({ at_risk: risk, stuck, objectives }) {
  const burning = (objectives ?? []).filter(({ firing }) => firing).length;
  return [risk > 0 ? h("a", { href: found("risk:any") }, `${many(risk, "agent")} at risk`) : "no agent at risk",
    stuck > 0 && [", ", h("a", { href: found("health:stuck") }, `${count(stuck)} stuck`)], burning > 0 && `, ${many(burning, "objective")} burning`];
}

// The address of the agents that a query finds.
function found(query) {
  return to("agents", `?${query}`);
}

// Of those of a domain; nothing can be asked for by a name with a quote.
function within(name, query = "") {
  return name.includes('"') ? null : found(`domain:"${name}" ${query}`.trim());
}

function fleet(now) {
  return h("div", { class: "grid2" },
    panel("Domains", h("div", { class: "grid3" }, occupied(now.domains).slice(0, 60).map(domain)), rest(now.domains_total, 60, "domains")),
    panel("Pools", h("div", { class: "grid3" }, now.pools.slice(0, 60).map(pool)), rest(now.pools_total, 60, "pools")));
}

// Whoever has agents comes before those that have none.
function occupied(domains) {
  return [...domains].sort((a, b) => (a.agents === 0) - (b.agents === 0));
}

function rest(all, shown, noun) {
  if (all === 0) return h("p", { class: "empty" }, `No ${noun}.`);
  return all > shown && h("p", { class: "quiet" }, `${count(all - shown)} more ${noun} are not shown here; these are the worst.`);
}

function domain({ name, parent, agents, parked, stuck, at_risk: risk, budget, health }) {
  return h("article", { class: "card", "data-key": `domain-${name}` },
    h("div", { class: "head" }, h("h3", null, h("a", { href: within(name) }, domainName(name))), h("span", { class: "quiet num" }, many(agents, "agent"))),
    h("p", { class: "quiet under" }, health && badge(health.state), parent && h("span", null, `within ${domainName(parent)}`)),
    field(fates(health, agents, parked), domainName(name), (state) => within(name, state === "parked" ? "phase:parked" : health && `health:${state}`)),
    (stuck > 0 || risk > 0) && h("ul", { class: "legend" },
      stuck > 0 && h("li", null, h("a", { href: within(name, "health:stuck") }, h("b", null, count(stuck)), " stuck")),
      risk > 0 && h("li", null, h("a", { href: within(name, "risk:any") }, h("b", null, count(risk)), " at risk"))),
    budget && h("p", { class: "quiet" }, `${count(budget.used)} of at most ${count(budget.limit)} agents`));
}

// Where nobody looks after health, agents are up or parked, and no more is known.
function fates(health, agents, parked) {
  return health ? { ...health, parked } : { unknown: Math.max(0, agents - parked), parked };
}

function pool(one) {
  return h("article", { class: "card", "data-key": `pool-${one.name}` },
    h("div", { class: "head" }, h("h3", null, h("a", { href: to("pools", one.name) }, one.name)), badge(one.state)),
    sizes(one),
    one.missing > 0 && h("p", { class: "quiet" }, `${many(one.missing, "worker")} missing${one.reason ? `: ${one.reason}` : ""}`),
    h("ul", { class: "legend" },
      h("li", null, swatch("full"), h("b", null, count(one.busy)), " busy"), h("li", null, h("b", null, count(one.waiting)), " waiting"), h("li", null, "p99 ", h("b", null, duration(one.p99))),
      h("li", null, swatch("ready"), h("b", null, count(one.size)), " workers", one.max !== null && one.max !== undefined && ` of at most ${count(one.max)}`),
      h("li", null, swatch("mark"), "meant to be ", h("b", null, count(one.target)))));
}
