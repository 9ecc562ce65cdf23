// What is asked of the server, and with which token. The token is in this tab's session storage, and in no address.

import { heard } from "./times.js";

const KEPT = "kantoku.token";
const BASE = new URL(".", document.baseURI);

/** An answer other than what was asked for: its status (0: no answer at all), its reason and a sentence. */
export class Refused extends Error {
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEPT),
  set: (text) => sessionStorage.setItem(KEPT, text),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** The page in an app's own paths, whose door is the app's. */
export const mounted = BASE.pathname !== "/";

/** The JSON of a path below `api/v1/`. */
export async function ask(path, params, signal) {
  const response = await request(`api/v1/${path}`, params, signal);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Reads the stream of events until `signal` ends it; `take` is given the kind and the data of each, `alive` is called at each sign of life. */
export async function listen(params, signal, { opened, take, alive }) {
  const response = await request("events", params, signal);
  if (!response.ok) throw await refusal(response);
  opened();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => { throw lost(error, signal); });
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) event(block, take);
  }
}

function event(block, take) {
  let kind = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) kind = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  // A comment only says that the stream lives.
  if (data.length > 0) take(kind, JSON.parse(data.join("\n")));
}

async function request(path, params, signal) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  const secret = token.get();
  const headers = secret ? { authorization: `Bearer ${secret}` } : {};
  const sent = Date.now();
  try {
    const response = await fetch(url, { headers, signal, cache: "no-store", credentials: mounted ? "same-origin" : "omit", redirect: "error" });
    heard(response.headers.get("date"), sent);
    return response;
  } catch (error) {
    throw lost(error, signal);
  }
}

function lost(error, signal) {
  return signal?.aborted ? error : new Refused(0, "unreachable", "There is no answer from the server.");
}

async function refusal(response) {
  let said = {};
  try {
    said = (await response.json()).error ?? {};
  } catch {
    // A refusal at the door has no body.
  }
  return new Refused(response.status, said.reason ?? "refused", said.message ?? `The server answered ${response.status}.`);
}
