// Interactive parts of the plots; the static parts are in the page already.

import { bisector } from "d3-array";
import { format } from "d3-format";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import type { Plots } from "./data";
import { find, option } from "./dom";

const TOP = 10;
const BOTTOM = 210;
const count = format(",d");

type Power = NonNullable<Plots["power"]>;
type Divergence = NonNullable<Plots["kl"]>;

/** Let the reader select a task's power curve, and read the probability of FAIL at a drop. */
export function powerPlot(power: Power): void {
  const slider = find<HTMLInputElement>("#probe");
  const chooser = find<HTMLSelectElement>("#power-task");
  const area = find<SVGSVGElement>("#power-plot .area");
  power.tasks.forEach(([name], index) => chooser.append(option(index, name)));
  const drops = power.drops;
  const last = drops[drops.length - 1] ?? 1;
  const x = scaleLinear([0, last], [0, 100]);
  const y = scaleLinear([0, 1], [BOTTOM, TOP]);
  const right = bisector((drop: number) => drop).right;
  const chances = (): number[] => power.tasks[Number(chooser.value)]?.[1] ?? power.decision;
  const at = (drop: number): number => {
    const next = Math.min(Math.max(right(drops, drop), 1), drops.length - 1);
    const curve = chances();
    return scaleLinear([drops[next - 1] ?? 0, drops[next] ?? 1], [curve[next - 1] ?? 0, curve[next] ?? 0])(drop);
  };
  const show = (): void => {
    const drop = (last * Number(slider.value)) / Number(slider.max);
    const chance = at(drop);
    const points = `${format(".2f")(100 * drop)} points`;
    const probability = `${format(".0f")(100 * chance)}%`;
    find("#probe-drop").textContent = points;
    find("#probe-chance").textContent = probability;
    slider.setAttribute("aria-valuetext", `${points}: ${probability}`);
    select(area).select(".probe-line").attr("x1", `${x(drop)}%`).attr("x2", `${x(drop)}%`).attr("y1", y(chance));
    select(area).select(".probe-dot").attr("cx", `${x(drop)}%`).attr("cy", y(chance));
  };
  chooser.addEventListener("change", () => {
    const own = power.tasks[Number(chooser.value)]?.[1] ?? [];
    const points = own.map((chance, index) => `${x(drops[index] ?? 0)},${100 * (1 - chance)}`);
    select(area).select(".chosen").attr("points", points.join(" "));
    select(area).classed("choosing", own.length > 0);
    show();
  });
  slider.addEventListener("input", show);
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    slider.value = String((Number(slider.max) * (event.clientX - box.left)) / box.width);
    show();
  });
  slider.value = String(Number(slider.max) / 3);
  show();
}

/** Let the reader select the task of the histogram of divergences. */
export function divergencePlot(kl: Divergence): void {
  const chooser = find<HTMLSelectElement>("#kl-task");
  const bins = kl.edges.length - 1;
  const sum = (side: 1 | 2): number[] =>
    Array.from({ length: bins }, (_, bin) => kl.tasks.reduce((total, task) => total + (task[side][bin] ?? 0), 0));
  const every: [string, number[], number[]] = ["", sum(1), sum(2)];
  kl.tasks.forEach(([name], index) => chooser.append(option(index, name)));
  const draw = (): void => {
    const [, all, flipped] = kl.tasks[Number(chooser.value)] ?? every;
    const x = scaleLinear([0, bins], [0, 100]);
    const y = scaleLinear([0, Math.max(1, ...all)], [BOTTOM, TOP]);
    const ticks = y.ticks(4).filter(Number.isInteger);
    const plot = select("#kl-plot");
    plot
      .select(".yaxis")
      .selectAll("text")
      .data(ticks)
      .join("text")
      .attr("x", 40)
      .attr("y", (tick) => y(tick) + 4)
      .attr("text-anchor", "end")
      .text(count);
    plot
      .select(".grids")
      .selectAll("line")
      .data(ticks)
      .join("line")
      .attr("class", "grid")
      .attr("x2", "100%")
      .attr("y1", (tick) => y(tick))
      .attr("y2", (tick) => y(tick));
    const bars = all.flatMap((value, bin) => [
      { bin, value, name: "all" },
      { bin, value: flipped[bin] ?? 0, name: "flipped" },
    ]);
    const drawn = plot
      .select(".bars")
      .selectAll("rect")
      .data(bars)
      .join("rect")
      .attr("class", (bar) => bar.name)
      .attr("x", (bar) => `${x(bar.bin + 0.06)}%`)
      .attr("width", `${x(0.88)}%`)
      .attr("y", (bar) => y(bar.value))
      .attr("height", (bar) => BOTTOM - y(bar.value));
    drawn
      .selectAll("title")
      .data((bar) => [bar])
      .join("title")
      .text((bar) => {
        const range = `${format(".2g")(kl.edges[bar.bin] ?? 0)} to ${format(".2g")(kl.edges[bar.bin + 1] ?? 0)} nats`;
        return `${range}: ${count(all[bar.bin] ?? 0)} items, ${count(flipped[bar.bin] ?? 0)} with a changed score`;
      });
  };
  chooser.addEventListener("change", draw);
  draw();
}
