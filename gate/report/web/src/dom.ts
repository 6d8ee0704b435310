// Small helpers. Text of models and tasks enters the page through `textContent` only, never as markup.

export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function find<T extends Element>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (found === null) throw new Error(`no ${selector} in the page`);
  return found;
}

export function option(value: number, text: string): HTMLOptionElement {
  const made = element("option", "", text);
  made.value = String(value);
  return made;
}
