// What single keys do, and the sheet that says so. They can be turned off (WCAG 2.1.4).

import { h, render } from "./dom.js";

const KEPT = "kantoku.keys";

/** Listens to keys: `commands` are `{key, text, run}`, where several keys may do one thing (`"1 to 8"` is only shown). */
export function bind(commands) {
  const sheet = document.getElementById("keys");
  const on = document.getElementById("keys-on");
  on.checked = localStorage.getItem(KEPT) !== "off";
  on.onchange = () => localStorage.setItem(KEPT, on.checked ? "on" : "off");
  document.getElementById("keys-close").onclick = () => sheet.close();
  render(document.getElementById("keys-list"), commands.filter(({ text }) => text).map(({ key, shown, text }) =>
    [h("dt", null, h("kbd", null, shown ?? key)), h("dd", null, text)]));
  document.addEventListener("keydown", (event) => pressed(event, commands, on.checked, sheet));
}

/** Shows the sheet. */
export function help() {
  document.getElementById("keys").showModal();
}

function pressed(event, commands, on, sheet) {
  if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
  if (!on || sheet.open || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const command = commands.find(({ key }) => key === event.key);
  if (!command) return;
  event.preventDefault();
  command.run();
}

function typing(target) {
  return target.matches?.("input:not([type=checkbox]), select, textarea, [contenteditable]");
}
