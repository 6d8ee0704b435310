// DOM helpers. Text of models and tasks enters the page as text nodes only, never as markup.

export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const created = document.createElement(name);
  if (className) created.className = className;
  created.append(...children);
  return created;
}

export function find<T extends Element>(selector: string): T {
  const match = document.querySelector<T>(selector);
  if (match === null) throw new Error(`the page has no ${selector}`);
  return match;
}

export function option(value: number, text: string): HTMLOptionElement {
  const created = element("option", "", text);
  created.value = String(value);
  return created;
}
