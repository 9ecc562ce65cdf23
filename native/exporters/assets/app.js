// The page as a whole: who may see it, which view is shown, and when it is looked at anew.

import agents from "./agents.js";
import { Refused, ask, mounted, token } from "./api.js";
import { prepare, repaint } from "./charts.js";
import { forget, nextRange } from "./courses.js";
import { h, render } from "./dom.js";
import events from "./events.js";
import { clock, count, many, sentence } from "./format.js";
import { alerts, breakers, migration, objectives } from "./guards.js";
import { bind, help } from "./keys.js";
import overview from "./overview.js";
import pools from "./pools.js";
import { dark, dress, turn, watch } from "./theme.js";

const VIEWS = [overview, pools, agents, breakers, objectives, alerts, events, migration];
// How often a view is looked at, in ms; less often where an answer costs more than a tenth of the time.
const EVERY = 2000;
const SELDOM = 30000;
// The word by the view's name in the navigation, of what the overview counts.
const COUNTS = { alerts: (now) => now.alerts, breakers: (now) => now.breakers?.open };

const at = (id) => document.getElementById(id);
const page = { open: false, instance: null, instances: [], view: overview, of: null, data: null, shown: null, stop: null, timer: null, good: null, counts: {} };

// Coming in --------------------------------------------------------------------------------------------------------------

dress();
start();

async function start() {
  at("token-form").onsubmit = (event) => {
    event.preventDefault();
    enter(at("token").value.trim());
  };
  if (token.get() || mounted) await enter(token.get());
  else gate();
}

async function enter(secret) {
  if (secret && !/^[\x21-\x7e]+$/.test(secret)) return gate("A token has no spaces, and no letters beyond ASCII.");
  if (secret) token.set(secret);
  try {
    const { instances } = await ask("instances");
    await opened(instances);
  } catch (error) {
    if (error.status === 401) return gate(secret ? "This is not the token." : null);
    gate(sentence(error.message));
  }
}

// Nothing of what was seen stays on the page.
function gate(why = null) {
  close();
  token.forget();
  at("app").hidden = true;
  render(at("content"));
  render(at("instance"));
  render(at("nav"));
  document.title = "Kantoku";
  if (why) at("token-why").textContent = why;
  at("token-why").classList.toggle("bad", why !== null);
  at("token").value = "";
  at("gate").hidden = false;
  at("token").focus();
}

async function opened(instances) {
  at("token").value = "";
  at("gate").hidden = true;
  at("app").hidden = false;
  page.open = true;
  known(instances);
  await prepare();
  route();
}

// Going about -------------------------------------------------------------------------------------------------------------

function known(instances) {
  page.instances = instances;
  if (!instances.some(({ name }) => name === page.instance)) page.instance = instances[0]?.name ?? null;
  render(at("instance"), instances.map(({ name, engine, agents }) =>
    h("option", { value: name, selected: name === page.instance }, `${name} (${engine}, ${many(agents, "agent")})`)));
  at("instance").value = page.instance;
}

function route() {
  if (!page.open) return;
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const view = VIEWS.find((one) => one.name === name) ?? overview;
  page.view.closed?.();
  page.view = view;
  page.of = rest.length > 0 ? decoded(rest.join("/")) : null;
  page.data = null;
  page.shown = null;
  document.title = `${view.title} · Kantoku`;
  navigation();
  render(at("content"), h("h1", { class: "sr" }, view.title), h("p", { class: "empty" }, "Looking …"));
  view.opened?.(context());
  look();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function navigation() {
  render(at("nav"), VIEWS.map((view) => {
    const worries = COUNTS[view.name]?.(page.counts) ?? 0;
    return h("a", { href: `#/${view.name}`, "aria-current": view === page.view ? "page" : null, "data-key": view.name },
      view.title, worries > 0 && h("span", { class: "count" }, count(worries)));
  }));
  const { parentElement: rail, offsetLeft, offsetWidth } = at("nav").querySelector("[aria-current]");
  rail.scrollLeft = Math.max(0, offsetLeft + offsetWidth - rail.clientWidth + 40);
}

function go(step) {
  location.hash = `#/${VIEWS[step].name}`;
}

// Looking ------------------------------------------------------------------------------------------------------------------

function context() {
  const { instance, of, stop } = page;
  return {
    instance, of, redraw, again: look, refused: () => gate("The token is no longer right."),
    ask: (path, params) => ask(path, { instance, ...params }, stop?.signal),
  };
}

// One look at a time: a slow answer is waited for, one that is not wanted any more is not.
async function look() {
  close(false);
  const stop = new AbortController();
  const began = performance.now();
  page.stop = stop;
  try {
    const data = await page.view.load(context());
    if (stop.signal.aborted) return;
    page.data = data;
    seen(data);
    draw();
  } catch (error) {
    if (stop.signal.aborted) return;
    if (error.status === 401) return gate("The token is no longer right.");
    failed(error);
  }
  const pause = Math.min(SELDOM, Math.max(EVERY, 9 * (performance.now() - began)));
  page.timer = setTimeout(() => (document.hidden ? null : look()), pause);
}

function close(ended = true) {
  clearTimeout(page.timer);
  page.stop?.abort();
  if (ended && page.open) {
    page.view.closed?.();
    Object.assign(page, { open: false, data: null, instances: [], instance: null, counts: {} });
    forget();
  }
}

function seen(data) {
  page.good = Date.now() / 1000;
  render(at("status"), `as of ${clock(page.good)}`);
  if (data.now) {
    page.counts = data.now;
    navigation();
  }
}

function failed(error) {
  if (!(error instanceof Refused)) console.error(error);
  const what = sentence(error instanceof Refused ? error.message : "this view could not be drawn");
  const since = page.good && page.data !== null ? ` What is shown is of ${clock(page.good)}.` : "";
  render(at("status"), h("span", { class: "bad", role: "alert" }, what, since));
  if (page.data === null) render(at("content"), h("p", { class: "note" }, what));
  // An instance that ended, or an agent that is gone.
  if (error.status === 404) renew();
}

async function renew() {
  try {
    known((await ask("instances")).instances);
  } catch {
    // The next look says what is wrong.
  }
}

let asked = false;

function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    if (page.open && page.data !== null) draw();
  });
}

function draw() {
  const here = context();
  render(at("content"), h("h1", { class: "sr" }, page.view.title), page.view.draw(page.data, here));
  page.view.drawn?.(page.data, here);
}

// Controls -----------------------------------------------------------------------------------------------------------------

function recolour() {
  at("theme").textContent = dark() ? "Light" : "Dark";
  at("theme").setAttribute("aria-label", dark() ? "Use light colours" : "Use dark colours");
  repaint();
  redraw();
}

function switchTheme() {
  turn();
  recolour();
}

function press(id) {
  const button = at(id);
  if (button && !button.disabled) button.click();
}

function focusSearch() {
  const input = at("q") ?? at("match");
  if (input) return input.focus();
  location.hash = "#/agents";
  setTimeout(() => at("q")?.focus(), 300);
}

at("theme").onclick = switchTheme;
at("help").onclick = help;
at("leave").onclick = () => gate();
at("instance").onchange = (event) => {
  page.instance = event.target.value;
  forget();
  route();
};
document.addEventListener("visibilitychange", () => { if (page.open && !document.hidden) look(); });
window.addEventListener("hashchange", () => { route(); at("content").focus({ preventScroll: true }); });
watch(recolour);
recolour();

bind([
  ...VIEWS.map((view, n) => ({ key: String(n + 1), shown: `1 to ${VIEWS.length}`, text: n === 0 ? "the views, from left to right" : null, run: () => page.open && go(n) })),
  { key: "/", text: "search, or which events to follow", run: () => page.open && focusSearch() },
  { key: "r", text: "how far back courses go: the next one", run: () => { nextRange(); if (page.open) look(); } },
  { key: "[", text: "the page before", run: () => press("page-back") },
  { key: "]", text: "the next page", run: () => press("page-on") },
  { key: "p", text: "hold the events, or let them go on", run: () => press("pause") },
  { key: "t", text: "dark or light", run: switchTheme },
  { key: "?", text: "this sheet", run: help },
  { key: "Escape", text: "close it, or leave a field", run: () => {} },
]);
