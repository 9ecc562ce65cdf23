// The tail of the stream of events.

import { listen } from "./api.js";
import { h } from "./dom.js";
import { count, duration, instant, number, sentence } from "./format.js";
import { panel } from "./tables.js";

const KEPT = 500;
const SHOWN = 200;
const PAUSES = [1000, 2000, 5000, 15000];

const tail = { events: [], came: 0, dropped: 0, match: "", paused: false, state: "", stop: null, number: 0 };

export default {
  name: "events",
  title: "Events",

  async load() {
    return tail;
  },

  opened(context) {
    if (!tail.stop) follow(context);
  },

  closed() {
    tail.stop?.abort();
    tail.stop = null;
  },

  draw(_data, context) {
    return panel("Events", controls(context), listing());
  },

  pause,
};

// Holds the tail still, or lets it go on.
function pause({ redraw }) {
  tail.paused = !tail.paused;
  redraw();
}

// Until it is told to stop: a stream that ends is opened again, after a while.
async function follow({ instance, redraw, refused }) {
  const stop = new AbortController();
  tail.stop = stop;
  for (let tries = 0; !stop.signal.aborted; tries += 1) {
    try {
      await listen({ instance, match: tail.match }, stop.signal, () => { tries = 0; say("live", redraw); }, (kind, data) => take(kind, data, redraw));
      say("ended, and is opened again", redraw);
    } catch (error) {
      if (stop.signal.aborted) return;
      if (error.status === 401) return refused();
      say(`${sentence(error.message)} It is tried again`, redraw);
    }
    await new Promise((done) => setTimeout(done, PAUSES[Math.min(tries, PAUSES.length - 1)]));
  }
}

function say(state, redraw) {
  tail.state = state;
  redraw();
}

function take(kind, data, redraw) {
  if (kind === "dropped") {
    tail.dropped += data.count ?? 1;
    return;
  }
  tail.came += 1;
  tail.number += 1;
  if (!tail.paused) {
    tail.events.unshift({ ...data, event: data.event ?? kind, number: tail.number });
    if (tail.events.length > KEPT) tail.events.length = KEPT;
  }
  redraw();
}

function controls(context) {
  const submit = (event) => {
    event.preventDefault();
    tail.match = event.target.elements.match.value.trim();
    tail.events = [];
    tail.stop?.abort();
    tail.stop = null;
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
    h("span", { class: "quiet", id: "tail-state" }, `${tail.paused ? "held" : tail.state || "opening"}: ${count(tail.came)} came${dropped}`));
}

function listing() {
  if (tail.events.length === 0) return h("p", { class: "empty" }, "Nothing has happened since you look.");
  return h("ol", { class: "tail", tabindex: "0", "aria-label": "Events, the newest first" }, tail.events.slice(0, SHOWN).map((event) =>
    h("li", { "data-key": String(event.number) },
      h("span", { class: "mono quiet" }, instant(event.at)), h("strong", null, event.event),
      h("span", { class: "what" }, words(event)))));
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
