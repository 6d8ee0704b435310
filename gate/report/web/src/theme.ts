// Light and dark: the system's choice, until the reader makes one.

import { find } from "./dom";

const KEY = "quantgate-theme";

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a page from a file may have no storage
  }
}

export function themed(): void {
  const root = document.documentElement;
  const button = find<HTMLButtonElement>("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = (): void => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    button.setAttribute("aria-pressed", String(dark));
  };
  const chosen = stored();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  show();
  system.addEventListener("change", show);
  button.addEventListener("click", () => {
    root.dataset.theme = button.getAttribute("aria-pressed") === "true" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // not kept
    }
    show();
  });
}
