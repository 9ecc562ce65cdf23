// Breakers, objectives, alerts and migrations: what stands between calls and harm.

import { h } from "./dom.js";
import { count, domainName, duration, kept, number, percent } from "./format.js";
import { meter } from "./pictures.js";
import { badge } from "./states.js";
import { facts, panel, table } from "./tables.js";
import { ago, clock, now } from "./times.js";

const MOST = 200;
// Labels of alerts that stand in columns of their own, or on top of the page.
const SHOWN = ["alertname", "severity", "kantoku_instance"];

// Says that there are more than are shown.
function cut(all, total) {
  const shown = Math.min(all.length, MOST);
  return total > shown && h("p", { class: "quiet" }, `These are the first ${count(shown)} of ${count(total)}.`);
}

export const breakers = {
  name: "breakers",
  title: "Breakers",

  async load({ ask }) {
    return ask("breakers");
  },

  counts({ breakers: all }) {
    return { breakers: all.filter(({ state }) => state === "open" || state === "forced_open").length };
  },

  draw({ breakers: all, total }) {
    const rank = { open: 0, forced_open: 0, half_open: 1 };
    const sorted = [...all].sort((a, b) => (rank[a.state] ?? 2) - (rank[b.state] ?? 2));
    const part = (value, calls) => (calls > 0 ? `${count(value)} (${percent(value / calls, 2)})` : count(value));
    const columns = [
      { label: "Breaker", cell: ({ name }) => domainName(name) },
      { label: "State", cell: ({ state }) => badge(state) },
      { label: "Failed", num: true, cell: ({ failures, calls }) => part(failures, calls) },
      { label: "Slow", num: true, cell: ({ slow, calls }) => part(slow, calls) },
      { label: "Calls in its window", num: true, cell: ({ calls }) => count(calls) },
      { label: "Refused", num: true, cell: ({ refused }) => count(refused) },
      { label: "Open for", num: true, cell: ({ open_for: seconds }) => duration(seconds) },
      { label: "Times opened", num: true, cell: ({ trips }) => count(trips) },
    ];
    return panel("Breakers", table("Breakers", columns, sorted.slice(0, MOST), { key: ({ name }) => name, empty: "This instance has no breakers." }), cut(all, total));
  },
};

export const objectives = {
  name: "objectives",
  title: "Objectives",

  async load({ ask }) {
    return ask("objectives");
  },

  draw({ objectives: all, total }) {
    if (all.length === 0) return panel("Objectives", h("p", { class: "empty" }, "This instance has no objectives."));
    return [cut(all, total), h("div", { class: "grid2" }, all.slice(0, MOST).map(objective))];
  },
};

function objective(one) {
  const left = one.budget_left;
  const age = now() - one.since;
  const tone = one.firing ? "bad" : left < 0.25 ? "warn" : "ok";
  return h("section", { class: "panel", "data-key": one.name, "aria-label": one.name },
    h("div", { class: "bar" }, h("h2", null, one.name), badge(one.firing ? "firing" : "ok", one.firing ? "burns too fast" : "kept")),
    facts([["of", domainName(one.of)], ["kept", h("strong", null, kept(one.kept))], ["meant to be", kept(one.target)],
      ["answered within", one.latency === null || one.latency === undefined ? null : duration(one.latency)],
      ["over", [duration(one.window), known(one.window, age)]], ["calls", `${count(one.good)} good, ${count(one.bad)} bad`],
      ["budget left", h("span", null, meter(left, tone, "error budget left"), left < 0 ? `none, ${percent(-left, 3)} too much is spent` : percent(left, 3))]]),
    table(`Burn rates of ${one.name}`, [
      { label: "Burn over", cell: ({ window, short }) => [`${duration(window)}${short ? ` and ${duration(short.window)}` : ""}`, known(window, age)] },
      { label: "Rates", num: true, cell: ({ rate, short }) => `${number(rate)}${short ? ` and ${number(short.rate)}` : ""}` },
      { label: "Too high above", num: true, cell: ({ limit }) => number(limit) },
      { label: "Says", cell: ({ firing, severity }) => (firing ? badge("firing", severity) : badge("ok", "well")) },
    ], one.burn ?? []));
}

// Of a window that began before counting did, that much less is known.
function known(window, age) {
  return age < window && h("span", { class: "quiet" }, `, known for ${duration(age < 120 ? Math.round(age) : age)}`);
}

/** How many of some alerts fire. */
export function firing({ alerts: all }) {
  return { alerts: all.filter(({ state }) => state === "firing").length };
}

export const alerts = {
  name: "alerts",
  title: "Alerts",

  async load({ ask }) {
    return ask("alerts");
  },

  counts: firing,

  draw({ alerts: all, total }) {
    const sorted = [...all].sort((a, b) => (a.state === "firing" ? 0 : 1) - (b.state === "firing" ? 0 : 1) || b.since - a.since);
    const columns = [
      { label: "Alert", cell: ({ name }) => name },
      { label: "State", cell: ({ state }) => badge(state) },
      { label: "Severity", cell: ({ severity }) => severity },
      { label: "Since", cell: ({ since }) => (since ? `${clock(since)}, ${ago(since)}` : "–") },
      { label: "What", wide: true, cell: ({ summary }) => summary },
      { label: "Labels", wide: true, cell: ({ labels }) => h("span", { class: "quiet" }, words(labels)) },
    ];
    const key = ({ name, labels }) => `${name} ${JSON.stringify(labels)}`;
    return panel("Alerts", table("Alerts", columns, sorted.slice(0, MOST), { key, empty: "Nothing fires." }), cut(all, total));
  },
};

function words(labels) {
  return Object.entries(labels ?? {}).filter(([name]) => !SHOWN.includes(name)).map(([name, value]) => `${name} ${domainName(value)}`).join(", ");
}

export const migration = {
  name: "migration",
  title: "Migration",

  async load({ ask }) {
    return ask("migration");
  },

  draw({ flags, total }) {
    const columns = [
      { label: "Of", cell: ({ name }) => name },
      { label: "Feature", cell: ({ feature }) => feature },
      { label: "Mode", cell: ({ mode }) => badge(mode) },
      { label: "Share on the new side", wide: true, cell: ({ percent: share }) => (share === null || share === undefined ? "–" : [meter(share / 100, "", "share on the new side"), `${number(share)} %`]) },
      { label: "State", cell: ({ state }) => (state ? badge(state) : "–") },
      { label: "Old side", num: true, cell: ({ agents_old: old }) => count(old) },
      { label: "New side", num: true, cell: ({ agents_new: fresh }) => count(fresh) },
      { label: "Agreed", num: true, cell: ({ agreed }) => count(agreed) },
      { label: "Mismatches", num: true, cell: ({ mismatches }) => count(mismatches) },
    ];
    return panel("Migration", table("Migration", columns, flags.slice(0, MOST), {
      key: ({ name, feature }) => `${name} ${feature}`, empty: "Nothing is being moved over: all is where it is meant to be. A move begins with the option migration:, or with Kantoku.Migration.set/5.",
    }), cut(flags, total));
  },
};
