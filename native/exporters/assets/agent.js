// One agent: how it is, why, and what became of it.

import { to } from "./address.js";
import { h } from "./dom.js";
import { bytes, count, domainName, duration, number } from "./format.js";
import { badge } from "./states.js";
import { facts, panel } from "./tables.js";
import { ago, clock, instant } from "./times.js";

const FORMATS = { memory: bytes, heap: bytes, binaries: bytes, process: bytes, references: count, mailbox: count };

export default {
  async load({ ask, of }) {
    return ask("agent", { key: of });
  },

  draw({ agent, why, resources, timeline }, { traces }) {
    return [
      h("p", null, h("a", { href: to("agents") }, "‹ All agents")),
      h("div", { class: "grid2" },
        panel(agent.id, state(agent)),
        panel("Why", reasons(why ?? [])),
        panel("Resources", held(resources))),
      panel("What became of it", calls(traces), course(timeline ?? [])),
    ];
  },
};

function state(agent) {
  return facts([
    ["phase", badge(agent.phase)], ["health", badge(agent.health)], ["domain", domainName(agent.domain)], ["kind", agent.kind], ["restarts", count(agent.restarts)],
    ["mailbox", count(agent.mailbox)], ["memory", bytes(agent.memory)], ["load", count(agent.load)],
    ["since", agent.since ? `${clock(agent.since)}, ${ago(agent.since)}` : null], ["restart", agent.restart], ["process", agent.pid],
    ["tags", several(agent.tags)], ["capabilities", several(agent.capabilities)], ["region", agent.region],
    ...Object.entries(agent.metadata ?? {}),
  ]);
}

function several(words) {
  return words?.length > 0 ? words.join(", ") : null;
}

function reasons(why) {
  if (why.length === 0) return h("p", { class: "empty" }, "It serves: there is nothing to explain.");
  return h("ul", { class: "why" }, why.map(({ reason, text, lift, evidence }) =>
    h("li", null, h("strong", null, String(reason).replaceAll("_", " ")), text && h("p", null, text), lift && h("p", null, "To end it: ", h("code", null, lift)),
      facts(Object.entries(evidence ?? {}).map(([name, value]) => [name.replaceAll("_", " "), found(name, String(value))])))));
}

// Of what was found, times are in ms.
function found(name, text) {
  return /^(retry_in|left)$/.test(name) && /^\d+$/.test(text) ? duration(Number(text) / 1000) : text;
}

function held(resources) {
  if (!resources) return h("p", { class: "empty" }, "It was not looked at yet.");
  const { io, ...own } = resources;
  const ports = Object.entries(io ?? {}).map(([name, value]) => [name === "ports" ? "ports" : `ports' ${name}`, name === "ports" ? count(value) : bytes(value)]);
  return facts([...Object.entries(own).map(([name, value]) => [name.replaceAll("_", " "), (FORMATS[name] ?? number)(value)]), ...ports]);
}

// Why calls may be missing.
function calls(traces) {
  if (traces) return h("p", { class: "quiet" }, "Of its calls, those that a trace keeps.");
  return h("p", { class: "quiet" }, "Its calls are not among these: this instance traces none. The option ", h("code", null, "trace:"), " has it do so.");
}

function course(timeline) {
  if (timeline.length === 0) return h("p", { class: "empty" }, "Nothing is remembered of it.");
  return h("ol", { class: "timeline" }, timeline.slice(0, 200).map(({ at, kind, text, took }, n) =>
    h("li", { "data-key": `${at} ${kind} ${n}` },
      h("time", { class: "mono", datetime: new Date(at * 1000).toISOString(), title: ago(at) }, instant(at)),
      h("span", null, badge(kind)),
      h("span", { class: "what" }, text),
      h("span", { class: "num quiet" }, took === null || took === undefined ? "" : duration(took)))));
}
