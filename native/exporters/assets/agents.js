// Agents: those that a query finds, page by page, and those that take the most.

import { to } from "./address.js";
import { h } from "./dom.js";
import { bytes, count, domainName, number, sentence } from "./format.js";
import one from "./agent.js";
import { badge } from "./states.js";
import { pages, table } from "./tables.js";
import { ago } from "./times.js";

const LIMIT = 50;
const SORTS = [["id", "by name"], ["memory", "by memory"], ["reductions", "by work"], ["mailbox", "by mailbox"], ["restarts", "by restarts"]];
const MEASURES = [["memory", "memory", bytes], ["heap", "heap in use", bytes], ["reductions", "reductions a second", number], ["mailbox", "mailbox", count], ["binaries", "binaries", bytes]];

// What is looked for, where: cursors of the pages before this one.
const look = { q: "", sort: "id", by: "memory", cursors: [null] };

export default {
  name: "agents",
  title: "Agents",

  async load(context) {
    if (named(context)) return one.load(context);
    const [found, top] = await Promise.all([find(context), context.ask("top", { by: look.by, limit: 10 })]);
    return { found, top };
  },

  // Another instance has other agents, and pages of its own.
  reset() {
    Object.assign(look, { q: "", cursors: [null] });
  },

  // An address may say what to look for.
  opened({ of }) {
    if (of?.startsWith("?")) Object.assign(look, { q: of.slice(1), sort: "id", cursors: [null] });
  },

  draw(data, context) {
    if (named(context)) return one.draw(data, context);
    return [results(data.found, context), most(data.top, context)];
  },
};

function named({ of }) {
  return of && !of.startsWith("?");
}

// A query that is not understood is told where it stands, and stops nothing else.
async function find({ ask }) {
  try {
    return await ask("agents", { q: look.q, sort: look.sort, limit: LIMIT, after: look.cursors.at(-1) });
  } catch (error) {
    if (error.status !== 400) throw error;
    return { wrong: sentence(error.message), agents: [], total: null, next: null };
  }
}

function results(found, context) {
  const total = found.total === null ? "" : `${found.more ? "more than " : ""}${count(found.total)} found${found.of ? `; in this order are ${found.of}` : ""}`;
  const empty = found.of && found.total > 0 ? `None of ${found.of} is like that.` : "No agent is like that.";
  return h("section", { class: "panel", "aria-label": "Agents" },
    h("div", { class: "bar" }, search(context), sorting(context), h("span", { class: "quiet", role: "status", id: "total" }, total)),
    found.wrong && h("p", { class: "note", role: "alert", id: "query-wrong" }, found.wrong),
    table("Agents", COLUMNS, found.agents, { key: ({ key, id }) => key ?? id, empty }),
    pages({ page: look.cursors.length, more: found.next !== null, back: go(context, () => look.cursors.pop()), on: go(context, () => look.cursors.push(found.next)) }));
}

const COLUMNS = [
  { label: "Agent", cell: ({ key, id }) => (key ? h("a", { href: to("agents", key) }, id) : id) },
  { label: "Domain", cell: ({ domain }) => domainName(domain) },
  { label: "Kind", cell: ({ kind }) => kind },
  { label: "Phase", cell: ({ phase }) => badge(phase) },
  { label: "Health", cell: ({ health }) => badge(health) },
  { label: "Restarts", num: true, cell: ({ restarts }) => count(restarts) },
  { label: "Mailbox", num: true, cell: ({ mailbox }) => count(mailbox) },
  { label: "Memory", num: true, cell: ({ memory }) => bytes(memory) },
  { label: "Since", num: true, cell: ({ since }) => ago(since) },
];

function search(context) {
  const submit = (event) => {
    event.preventDefault();
    const q = event.target.elements.q.value.trim();
    go(context, () => Object.assign(look, { q, cursors: [null] }))();
  };
  return h("form", { class: "search", role: "search", onsubmit: submit },
    h("label", { class: "sr", for: "q" }, "A query of the registry"),
    h("input", { id: "q", name: "q", type: "search", value: look.q, placeholder: "tag:gpu phase:up -region:eu", spellcheck: "false", autocomplete: "off" }),
    h("button", { type: "submit" }, "Find"));
}

function sorting(context) {
  const choose = (event) => go(context, () => Object.assign(look, { sort: event.target.value, cursors: [null] }))();
  return h("label", null, h("span", { class: "sr" }, "Order"),
    h("select", { id: "sort", onchange: choose, value: look.sort }, options(SORTS, look.sort)));
}

function options(pairs, chosen) {
  return pairs.map(([value, label]) => h("option", { value, selected: value === chosen }, label));
}

function go({ again }, change) {
  return () => {
    change();
    again();
  };
}

function most(top, context) {
  const [, word, format] = MEASURES.find(([by]) => by === top.by) ?? MEASURES[0];
  const choose = (event) => go(context, () => Object.assign(look, { by: event.target.value }))();
  const columns = [
    { label: "Agent", cell: ({ key, id }) => (key ? h("a", { href: to("agents", key) }, id) : id) },
    { label: word, num: true, cell: ({ value }) => format(value) },
  ];
  return h("section", { class: "panel", "aria-label": "The most" },
    h("div", { class: "bar" }, h("h2", null, "Who takes the most"),
      h("label", null, h("span", { class: "sr" }, "Of what"), h("select", { id: "by", onchange: choose, value: look.by }, options(MEASURES, look.by))),
      h("span", { class: "quiet" }, top.sampled_at ? `looked at ${ago(top.sampled_at)}` : "")),
    table("Who takes the most", columns, top.agents, { key: ({ key, id }) => key ?? id, empty: `Nobody has any ${word === "mailbox" ? "messages waiting" : word}, or nobody was looked at yet.` }));
}
