// Times as people read them: by the server's clock, in the zone that was chosen. A time that is not known is a dash.

import { NONE, duration, missing } from "./format.js";

const KEPT = "kantoku.zone";
const SECOND = 1000;

// How far the server's clock is ahead of this machine's, in ms.
let ahead = 0;
let forms = null;

/** What an answer's header `Date` says, in whole seconds, of a request that was sent at `sent` (ms of this machine). */
export function heard(date, sent) {
  const said = Date.parse(date ?? "");
  if (Number.isNaN(said)) return;
  const least = said - Date.now();
  const most = said + SECOND - sent;
  if (ahead < least || ahead > most) ahead = (least + most) / 2;
}

/** Now, as the server has it: a unix time. */
export function now() {
  return (Date.now() + ahead) / 1000;
}

// Zones --------------------------------------------------------------------------------------------------------------------

/** The zone that times are written in; `undefined` is that of this machine. */
export function zone() {
  return localStorage.getItem(KEPT) === "utc" ? "UTC" : undefined;
}

/** The other zone, from now on: UTC, or this machine's. */
export function turnZone() {
  if (zone()) localStorage.removeItem(KEPT);
  else localStorage.setItem(KEPT, "utc");
  forms = null;
}

/** What the zone is called: by its distance from UTC, and by its name. */
export function zoneNames() {
  const form = new Intl.DateTimeFormat("en-GB", { timeZone: zone(), timeZoneName: "shortOffset" });
  const part = form.formatToParts(now() * 1000).find(({ type }) => type === "timeZoneName");
  return [part.value.replace(/^(GMT|UTC)(\+0)?$/, "UTC").replace("GMT", "UTC"), form.resolvedOptions().timeZone];
}

// Times --------------------------------------------------------------------------------------------------------------------

function written() {
  const timeZone = zone();
  forms ??= {
    time: new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone }),
    day: new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone }),
    year: new Intl.DateTimeFormat("en-GB", { year: "numeric", timeZone }),
  };
  return forms;
}

/** The time of day of a unix time. */
export function timeOfDay(at) {
  return missing(at) ? NONE : written().time.format(at * 1000);
}

/** With the day where that is not today, and the year where it is not this one. */
export function clock(at) {
  if (missing(at)) return NONE;
  const { day, year } = written();
  const [then, today] = [at * 1000, now() * 1000];
  if (year.format(then) !== year.format(today)) return `${day.format(then)} ${year.format(then)} ${timeOfDay(at)}`;
  return day.format(then) === day.format(today) ? timeOfDay(at) : `${day.format(then)} ${timeOfDay(at)}`;
}

/** With milliseconds. */
export function instant(at) {
  return missing(at) ? NONE : `${clock(at)}.${String(Math.floor((at % 1) * 1000)).padStart(3, "0")}`;
}

/** A text in which times, as ms since 1970, are times of day. */
export function dated(text) {
  return String(text).replace(/\b(1\d{12})(?: ms)?\b/g, (_all, ms) => clock(Number(ms) / 1000));
}

/** How long ago a unix time was. */
export function ago(at) {
  if (missing(at)) return NONE;
  const passed = Math.max(0, now() - at);
  return passed < 1 ? "now" : `${duration(passed < 120 ? Math.round(passed) : passed)} ago`;
}
