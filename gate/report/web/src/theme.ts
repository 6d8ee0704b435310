// Light or dark theme: the system's setting until the reader changes it.

import { find } from "./dom";

const KEY = "quantgate-theme";

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a page opened from a file may have no storage
  }
}

export function setUpTheme(): void {
  const root = document.documentElement;
  const button = find<HTMLButtonElement>("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = (): void => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    button.setAttribute("aria-pressed", String(dark));
  };
  const choice = stored();
  if (choice === "dark" || choice === "light") root.dataset.theme = choice;
  show();
  system.addEventListener("change", show);
  button.addEventListener("click", () => {
    root.dataset.theme = button.getAttribute("aria-pressed") === "true" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // without storage, the choice lasts until the page is closed
    }
    show();
  });
}
