// One flip: prompt, target, and both answers side by side with their differences marked.

import { diffChars, diffWordsWithSpace, type Change } from "diff";
import { format } from "d3-format";
import { choicesTable } from "./choices";
import type { Flip } from "./data";
import { element } from "./dom";

export const KINDS = ["Worse", "Better", "Other wrong"] as const;
const number = format(".3~g");

export function showFlip(flip: Flip, task: string, into: HTMLElement): void {
  const facts: string[] = [];
  if (flip.scores) facts.push(`score ${number(flip.scores[0])} to ${number(flip.scores[1])}`);
  if (flip.shift !== null) facts.push(`shift ${number(flip.shift)} nats`);
  if (flip.kl !== null) facts.push(`KL ${number(flip.kl)} nats`);
  const title = element("h3", "", element("span", `badge k${flip.kind}`, KINDS[flip.kind]), element("span", "", task));
  const parts: Node[] = [title, element("p", "facts", facts.join(" · "))];
  if (flip.prompt !== null) parts.push(field("Prompt", element("div", "prose", flip.prompt)));
  if (flip.target !== null) parts.push(field("Target", element("div", "prose target", flip.target)));
  const changes = compare(flip.baseline ?? "", flip.candidate ?? "");
  const was = element("div", "prose answer");
  const now = element("div", "prose answer");
  for (const change of changes) {
    if (!change.added) was.append(change.removed ? element("del", "", change.value) : change.value);
    if (!change.removed) now.append(change.added ? element("ins", "", change.value) : change.value);
  }
  if (flip.baseline === null) was.replaceChildren("-");
  if (flip.candidate === null) now.replaceChildren("-");
  const verdicts = flip.kind === 0 ? ["", "worse"] : flip.kind === 1 ? ["", "better"] : ["", ""];
  parts.push(
    element(
      "div",
      "sides",
      field("Baseline", was, `was ${verdicts[0]}`),
      field("Candidate", now, `now ${verdicts[1]}`),
    ),
  );
  const bars = choicesTable(flip);
  if (bars) parts.push(bars);
  parts.push(element("p", "item", "item ", element("code", "", flip.item)));
  into.replaceChildren(...parts);
}

function field(name: string, content: HTMLElement, className = ""): HTMLElement {
  return element("section", `part ${className}`.trim(), element("h4", "", name), content);
}

/** Compare word by word, or character by character in scripts that do not separate words by spaces. */
function compare(a: string, b: string): Change[] {
  const spaced = /\s/.test(a) || /\s/.test(b) || !/[\u0e00-\u0eff\u3040-\u9fff]/.test(a + b);
  const changes = spaced ? diffWordsWithSpace(a, b, { timeout: 300 }) : diffChars(a, b, { timeout: 300 });
  // the comparison timed out: mark both texts as changed
  return (changes as Change[] | undefined) ?? [whole(a, false), whole(b, true)];
}

function whole(value: string, added: boolean): Change {
  return { value, added, removed: !added, count: 1 };
}
