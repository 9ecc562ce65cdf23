// The tail of the stream of events.

import { listen } from "./api.js";
import { h } from "./dom.js";
import { count, duration, many, number, sentence } from "./format.js";
import { panel } from "./tables.js";
import { clock, instant, now } from "./times.js";

// Events that are shown, and those that wait while the tail is held.
const KEPT = 500;
const PAUSES = [1000, 2000, 5000, 15000];
// However fast they come, so often they are drawn, in ms.
const DRAWN = 250;

const empty = () => ({ events: [], held: [], missed: 0, came: 0, dropped: 0, match: "", paused: false, state: "", stop: null, number: 0, heard: null, left: null, due: null });
const tail = empty();

export default {
  name: "events",
  title: "Events",
  // It is not asked again and again, but told.
  follows: true,

  async load() {
    return tail;
  },

  opened(context) {
    if (!tail.stop && !document.hidden) follow(context);
  },

  closed() {
    tail.stop?.abort();
    tail.stop = null;
    deaf();
  },

  // Nothing of one instance is shown of another.
  reset() {
    tail.stop?.abort();
    clearTimeout(tail.due);
    Object.assign(tail, empty());
  },

  draw(_data, context) {
    return panel("Events", controls(context), listing());
  },
};

// Holds the tail still, or lets it go on with what came meanwhile.
function pause({ redraw }) {
  tail.paused = !tail.paused;
  if (!tail.paused) release();
  redraw();
}

function release() {
  const { held, missed } = tail;
  tail.events = [...held, ...tail.events].slice(0, KEPT);
  Object.assign(tail, { held: [], missed: 0 });
  if (missed > 0) put({ gap: `${many(missed, "event")} came while this was held, beyond what is kept then` });
}

// Until it is told to stop: a stream that ends is opened again, after a while.
async function follow(context) {
  const { instance, redraw, refused, failed } = context;
  const stop = new AbortController();
  tail.stop = stop;
  for (let tries = 0; !stop.signal.aborted; tries += 1) {
    try {
      const opened = () => {
        tries = 0;
        live(context);
      };
      await listen({ instance, match: tail.match }, stop.signal, { opened, take: (kind, data) => take(kind, data, redraw), alive: () => alive(context) });
      say("ended, and is opened again", redraw);
    } catch (error) {
      if (stop.signal.aborted) return;
      if (error.status === 401) return refused();
      failed(error);
      say(`${sentence(error.message)} It is tried again`, redraw);
    }
    deaf();
    await new Promise((done) => setTimeout(done, PAUSES[Math.min(tries, PAUSES.length - 1)]));
  }
}

function live(context) {
  if (tail.left !== null) put({ gap: `nobody listened from ${clock(tail.left)} to ${clock(now())}` });
  tail.left = null;
  alive(context);
  say("live", context.redraw);
}

function alive({ seen }) {
  tail.heard = now();
  seen(tail.heard);
}

// Whatever comes from now on is not heard.
function deaf() {
  if (tail.came > 0) tail.left ??= tail.heard;
}

function say(state, redraw) {
  tail.state = state;
  redraw();
}

function take(kind, data, redraw) {
  if (kind === "dropped") {
    const lost = data.count ?? 1;
    tail.dropped += lost;
    put({ gap: `${many(lost, "event")} left out, as this page was too slow` });
  } else {
    tail.came += 1;
    put({ ...data, event: data.event ?? kind });
  }
  tail.due ??= setTimeout(() => {
    tail.due = null;
    redraw();
  }, DRAWN);
}

// The first ones are kept that come while it is held: they go on from those that are looked at.
function put(entry) {
  tail.number += 1;
  const told = { ...entry, number: tail.number };
  if (!tail.paused) {
    tail.events.unshift(told);
    if (tail.events.length > KEPT) tail.events.length = KEPT;
  } else if (tail.held.length < KEPT) tail.held.unshift(told);
  else tail.missed += 1;
}

function controls(context) {
  const submit = (event) => {
    event.preventDefault();
    tail.match = event.target.elements.match.value.trim();
    Object.assign(tail, { events: [], held: [], missed: 0, left: null });
    tail.stop?.abort();
    follow(context);
    context.redraw();
  };
  const dropped = tail.dropped > 0 ? `, ${count(tail.dropped)} left out as this page was too slow` : "";
  return h("div", { class: "bar" },
    h("form", { class: "search", onsubmit: submit },
      h("label", { class: "sr", for: "match" }, "Events whose name begins with"),
      h("input", { id: "match", name: "match", type: "search", value: tail.match, placeholder: "pool.", spellcheck: "false", autocomplete: "off" }),
      h("button", { type: "submit" }, "Follow")),
    h("button", { type: "button", id: "pause", "aria-pressed": String(tail.paused), onclick: () => pause(context) }, tail.paused ? "Go on" : "Hold"),
    h("span", { class: "quiet", id: "tail-state" }, `${tail.paused ? `held, ${count(tail.held.length + tail.missed)} wait` : tail.state || "opening"}: ${count(tail.came)} came${dropped}`));
}

function listing() {
  if (tail.events.length === 0) return h("p", { class: "empty" }, "Nothing has happened since you look.");
  return h("ol", { class: "tail", tabindex: "0", "aria-label": "Events, the newest first" }, tail.events.map((event) => event.gap ? gap(event) :
    h("li", { "data-key": String(event.number) },
      h("span", { class: "mono quiet" }, instant(event.at)), h("strong", null, event.event),
      h("span", { class: "what" }, words(event)))));
}

// What is not here between those above and those below.
function gap({ gap: text, number: key }) {
  return h("li", { class: "gap", "data-key": String(key) }, sentence(text));
}

function words({ measurements, metadata }) {
  const measured = Object.entries(measurements ?? {}).map(([name, value]) => `${name} ${measure(name, value)}`);
  const said = Object.entries(metadata ?? {}).map(([name, value]) => `${name} ${value}`);
  return [...said, ...measured].join(" · ");
}

function measure(name, value) {
  if (typeof value !== "number") return String(value);
  return /^(duration|took|wait|delay)$/.test(name) ? duration(value) : number(value);
}
