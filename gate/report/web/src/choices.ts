// Bars of the probability of each choice among all choices, for both models.

import { max, sum } from "d3-array";
import { format } from "d3-format";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import type { Flip } from "./data";
import { element } from "./dom";

const share = (value: number): string => `${format(".1f")(100 * value)}%`;
const nats = format(".2f");
const FULL_BAR = 62; // percent of the width; the rest is for the label

export function choicesTable(flip: Flip): HTMLElement | null {
  const [first, second] = flip.logprobs;
  if (first.length < 2) return null;
  const shares = [softmax(first), softmax(second)] as const;
  const x = scaleLinear([0, 1], [0, FULL_BAR]);
  const table = element("table", "choices");
  const caption = element("caption", "", "Probability among the choices, and log-probability in nats");
  const body = element("tbody");
  table.append(caption, body);
  first.forEach((_, index) => {
    const name = element("th", "", element("span", "text", flip.choices[index] ?? `choice ${index + 1}`));
    name.scope = "row";
    const marks = element("span", "marks");
    if (flip.right === index) marks.append(element("span", "mark right", "target"));
    if (flip.picked[0] === index) marks.append(element("span", "mark was", "baseline's"));
    if (flip.picked[1] === index) marks.append(element("span", "mark now", "candidate's"));
    name.append(marks);
    const bars = [first[index] ?? 0, second[index] ?? 0].map((logprob, side) => ({
      value: shares[side]?.[index] ?? 0,
      label: `${share(shares[side]?.[index] ?? 0)}  (${nats(logprob)})`,
      name: side === 0 ? "was" : "now",
      y: side * 20,
    }));
    const cell = element("td");
    const svg = select(cell).append("svg").attr("width", "100%").attr("height", 40).attr("aria-hidden", "true");
    const groups = svg.selectAll("g").data(bars).join("g").attr("class", (bar) => bar.name);
    groups
      .append("rect")
      .attr("y", (bar) => bar.y + 3)
      .attr("height", 14)
      .attr("rx", 2)
      .attr("width", (bar) => `${Math.max(x(bar.value), 0.4)}%`);
    groups
      .append("text")
      .attr("x", (bar) => `${x(bar.value) + 1}%`)
      .attr("dx", 4)
      .attr("y", (bar) => bar.y + 14.5)
      .text((bar) => bar.label);
    const description = bars.map((bar) => `${bar.name === "was" ? "baseline" : "candidate"} ${bar.label}`).join("; ");
    cell.append(element("span", "sr", description));
    body.append(element("tr", "", name, cell));
  });
  const mostLikely = [first, second].map((side) => side.indexOf(max(side) ?? 0));
  const differs = flip.picked.some((picked, side) => picked !== null && picked !== mostLikely[side]);
  if (!differs) return table;
  const note = "The task's metric adjusts the log-probabilities before it picks, for example by length.";
  return element("div", "", table, element("p", "fine", note));
}

function softmax(logprobs: number[]): number[] {
  const highest = max(logprobs) ?? 0;
  const weights = logprobs.map((value) => Math.exp(value - highest));
  const total = sum(weights);
  return weights.map((weight) => weight / total);
}
