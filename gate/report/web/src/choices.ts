// How each choice scored with both models: its share of the probability among the choices, as bars.

import { max, sum } from "d3-array";
import { format } from "d3-format";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import type { Flip } from "./data";
import { element } from "./dom";

const share = (value: number): string => `${format(".1f")(100 * value)} %`;
const nats = format(".2f");
const ROOM = 62; // per cent of the width for a full bar; the rest is for its label

export function choicesTable(flip: Flip): HTMLElement | null {
  const [first, second] = flip.logprobs;
  if (first.length < 2) return null;
  const shares = [shared(first), shared(second)] as const;
  const x = scaleLinear([0, 1], [0, ROOM]);
  const table = element("table", "choices");
  const caption = element("caption", "", "Probability among the choices, and log-probability in nats");
  const body = element("tbody");
  table.append(caption, body);
  first.forEach((_, place) => {
    const name = element("th", "", element("span", "text", flip.choices[place] ?? `choice ${place + 1}`));
    name.scope = "row";
    const marks = element("span", "marks");
    if (flip.right === place) marks.append(element("span", "mark right", "right answer"));
    if (flip.picked[0] === place) marks.append(element("span", "mark was", "baseline's"));
    if (flip.picked[1] === place) marks.append(element("span", "mark now", "candidate's"));
    name.append(marks);
    const bars = [first[place] ?? 0, second[place] ?? 0].map((logprob, side) => ({
      value: shares[side]?.[place] ?? 0,
      label: `${share(shares[side]?.[place] ?? 0)}  (${nats(logprob)})`,
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
    const said = bars.map((bar) => `${bar.name === "was" ? "baseline" : "candidate"} ${bar.label}`).join("; ");
    cell.append(element("span", "sr", said));
    body.append(element("tr", "", name, cell));
  });
  const likeliest = [first, second].map((side) => side.indexOf(max(side) ?? 0));
  const other = flip.picked.some((picked, side) => picked !== null && picked !== likeliest[side]);
  if (!other) return table;
  const note = "The task's metric does not pick by log-probability alone (a length or a prior is taken out of it).";
  return element("div", "", table, element("p", "fine", note));
}

function shared(logprobs: number[]): number[] {
  const highest = max(logprobs) ?? 0;
  const weights = logprobs.map((value) => Math.exp(value - highest));
  const total = sum(weights);
  return weights.map((weight) => weight / total);
}
