// Dark or light: as the system has it, unless somebody chose.

const KEPT = "kantoku.theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now. */
export function dark() {
  const chosen = localStorage.getItem(KEPT);
  return chosen ? chosen === "dark" : system.matches;
}

/** Puts the page into its colours. */
export function dress() {
  document.documentElement.dataset.theme = dark() ? "dark" : "light";
}

/** The other colours, from now on. What the system has is gone back to by choosing it. */
export function turn() {
  const wanted = dark() ? "light" : "dark";
  if ((wanted === "dark") === system.matches) localStorage.removeItem(KEPT);
  else localStorage.setItem(KEPT, wanted);
  dress();
}

/** Calls back after the system has changed. */
export function watch(changed) {
  system.addEventListener("change", () => {
    dress();
    changed();
  });
}
