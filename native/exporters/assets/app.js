// The page as a whole: who may see it, which view is shown, and when it is looked at anew.

import { read, stand, to } from "./address.js";
import agents from "./agents.js";
import { Refused, ask, mounted, token } from "./api.js";
import { prepare, repaint, tidy } from "./charts.js";
import { forget, nextRange } from "./courses.js";
import { h, render } from "./dom.js";
import events from "./events.js";
import { count, many, sentence } from "./format.js";
import { alerts, breakers, firing, migration, objectives } from "./guards.js";
import { bind, help } from "./keys.js";
import overview from "./overview.js";
import pools from "./pools.js";
import { dark, dress, turn, watch } from "./theme.js";
import { clock, now, turnZone, zone, zoneNames } from "./times.js";

const VIEWS = [overview, pools, agents, breakers, objectives, alerts, events, migration];
// How often a view is looked at, in ms; less often where an answer costs more than a tenth of the time.
const EVERY = 2000;
const SELDOM = 30000;
// And what is known beside it: which instances there are, and how many alerts fire.
const INSTANCES = 30000;
const ALERTS = 10000;
// The count by the view's name in the navigation.
const COUNTS = { alerts: (counts) => counts.alerts, breakers: (counts) => counts.breakers };

const at = (id) => document.getElementById(id);
const page = { open: false, instance: null, instances: [], view: overview, of: null, data: null, stop: null, timer: null, good: null, counts: {}, asked: {} };

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

// Nothing of what was seen stays, neither on the page nor in its address.
function leave() {
  gate();
  history.replaceState(null, "", location.pathname);
}

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
  page.asked.instances = performance.now();
  choices();
}

// Where the address is of one that is not there, it is said and not another one shown in its place.
function choices() {
  const gone = page.instance && !page.instances.some(({ name }) => name === page.instance);
  render(at("instance"), gone && h("option", { value: page.instance }, `${page.instance} (not here)`), page.instances.map(({ name, engine, agents }) =>
    h("option", { value: name }, `${name} (${many(agents, "agent")}, ${engine})`)));
  at("instance").value = page.instance;
}

function route() {
  if (!page.open) return;
  const names = page.instances.map(({ name }) => name);
  const { instance, view: name, of } = read(location.hash, names, VIEWS.map((view) => view.name));
  page.view.closed?.();
  stay(instance ?? page.instance ?? names[0] ?? null);
  page.view = VIEWS.find((view) => view.name === name);
  Object.assign(page, { of, data: null, good: null });
  history.replaceState(null, "", to(name, of));
  title();
  navigation();
  render(at("status"));
  render(at("content"), h("h1", { class: "sr" }, page.view.title), h("p", { class: "empty" }, "Looking …"));
  tidy();
  page.view.opened?.(context());
  look();
}

// At an instance; of another one nothing is remembered.
function stay(instance) {
  if (instance === page.instance) return;
  forgetAll();
  page.instance = instance;
  stand(instance);
  choices();
}

function forgetAll() {
  forget();
  page.counts = {};
  page.asked.alerts = -Infinity;
  at("news").textContent = "";
  for (const view of VIEWS) view.reset?.();
}

function title() {
  const { alerts: alarms } = page.counts;
  document.title = `${alarms > 0 ? `(${count(alarms)}) ` : ""}${page.view.title} · Kantoku`;
}

function navigation() {
  render(at("nav"), VIEWS.map((view) => {
    const worries = COUNTS[view.name]?.(page.counts) ?? 0;
    return h("a", { href: to(view.name), "aria-current": view === page.view ? "page" : null, "data-key": view.name },
      view.title, worries > 0 && h("span", { class: "count" }, count(worries)));
  }));
}

function go(step) {
  location.hash = to(VIEWS[step].name);
}

// Looking ------------------------------------------------------------------------------------------------------------------

function context() {
  const { instance, of, stop } = page;
  const here = page.instances.find(({ name }) => name === instance);
  return {
    instance, of, redraw, again: look, seen, failed, refused: () => gate("The token is no longer right."), traces: here?.traces ?? false,
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
    if (!page.view.follows) seen(now());
    if (page.view.counts) counted(page.view.counts(data));
    draw();
    news(stop.signal);
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
    Object.assign(page, { open: false, data: null, instances: [], instance: null });
    forgetAll();
  }
}

function seen(when) {
  page.good = when;
  render(at("status"), `as of ${clock(when)}`);
}

// What is known beside the view. Of what goes wrong with it the next look tells.
async function news(signal) {
  const due = (what, every) => performance.now() - (page.asked[what] ?? -Infinity) > every;
  if (due("instances", INSTANCES)) await told("instances", {}, signal, ({ instances }) => known(instances));
  if (due("alerts", ALERTS)) {
    await told("alerts", { instance: page.instance }, signal, (answer) => counted(firing(answer)));
  }
}

async function told(path, params, signal, take) {
  try {
    const answer = await ask(path, params, signal);
    if (!signal.aborted) take(answer);
  } catch {
    // It is not wanted any more, or there is none.
  }
}

function counted(counts) {
  const before = page.counts.alerts;
  Object.assign(page.counts, counts);
  if (counts.alerts !== undefined) page.asked.alerts = performance.now();
  if (before !== undefined && before !== page.counts.alerts) announce(page.counts.alerts);
  title();
  navigation();
}

// To whoever hears the page rather than sees it.
function announce(alarms) {
  at("news").textContent = alarms === 0 ? "No alert fires any more." : `${many(alarms, "alert")} ${alarms === 1 ? "fires" : "fire"} now.`;
}

function failed(error) {
  if (!(error instanceof Refused)) console.error(error);
  const what = sentence(error instanceof Refused ? error.message : "this view could not be drawn");
  const since = page.good && page.data !== null ? ` What is shown is of ${clock(page.good)}.` : "";
  render(at("status"), h("span", { class: "bad", role: "alert" }, what, since));
  if (page.data === null) render(at("content"), h("p", { class: "note" }, what));
  // An instance that ended, or an agent that is gone.
  if (error.status === 404 && page.stop) told("instances", {}, page.stop.signal, ({ instances }) => known(instances));
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
  tidy();
}

// Controls -----------------------------------------------------------------------------------------------------------------

function recolour() {
  at("theme").textContent = dark() ? "Light" : "Dark";
  at("theme").setAttribute("aria-label", dark() ? "Use light colours" : "Use dark colours");
  repaint();
  redraw();
}

// Where this machine is in UTC anyway there is nothing to choose.
function zoned() {
  const [short, name] = zoneNames();
  at("zone").textContent = short;
  at("zone").disabled = !zone() && short === "UTC";
  at("zone").title = `Times are of ${name}`;
  at("zone").setAttribute("aria-label", `${short}: times are of ${name}. ${zone() ? "Use those of this machine" : "Use UTC"}`);
}

function switchZone() {
  turnZone();
  zoned();
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
  location.hash = to("agents");
  setTimeout(() => at("q")?.focus(), 300);
}

at("theme").onclick = switchTheme;
at("help").onclick = help;
at("leave").onclick = leave;
at("zone").onclick = switchZone;
at("instance").onchange = (event) => {
  location.hash = to(page.view.name, null, event.target.value);
};
document.addEventListener("visibilitychange", () => {
  if (!page.open) return;
  if (page.view.follows) document.hidden ? page.view.closed() : page.view.opened(context());
  if (!document.hidden) look();
});
window.addEventListener("hashchange", () => { route(); at("content").focus({ preventScroll: true }); });
watch(recolour);
recolour();
zoned();

bind([
  ...VIEWS.map((view, n) => ({ key: String(n + 1), shown: `1 to ${VIEWS.length}`, text: n === 0 ? "the views, from left to right" : null, run: () => page.open && go(n) })),
  { key: "/", text: "search, or which events to follow", run: () => page.open && focusSearch() },
  { key: "r", text: "how far back courses go: the next one", run: () => { nextRange(); if (page.open) look(); } },
  { key: "[", text: "the page before", run: () => press("page-back") },
  { key: "]", text: "the next page", run: () => press("page-on") },
  { key: "p", text: "hold the events, or let them go on", run: () => press("pause") },
  { key: "t", text: "dark or light", run: switchTheme },
  { key: "u", text: "times of UTC, or of this machine", run: () => press("zone") },
  { key: "?", text: "this sheet", run: help },
  { key: "Escape", text: "close it, or leave a field", run: () => {} },
]);
