// The report works without this script, which adds sorting, the flip explorer, interactive plots and the theme.

import { readFlips, readPlots } from "./data";
import { find } from "./dom";
import { Explorer } from "./explorer";
import { divergencePlot, powerPlot } from "./plots";
import { sortable } from "./table";
import { setUpTheme } from "./theme";

function copyable(): void {
  const button = document.querySelector<HTMLButtonElement>("#copy");
  button?.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("#command").textContent ?? "");
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(find("#command"));
      button.textContent = "Selected";
    }
  });
}

async function start(): Promise<void> {
  setUpTheme();
  document.querySelectorAll<HTMLTableElement>("table.tasks").forEach(sortable);
  copyable();
  const plots = readPlots();
  if (plots.power) powerPlot(plots.power);
  if (plots.kl) divergencePlot(plots.kl);
  if (document.querySelector("#explorer")) {
    document.documentElement.classList.add("js");
    new Explorer(await readFlips());
  }
  document.documentElement.classList.add("js", "ready");
  performance.mark("ready"); // read by benchmarks/html_report.py
}

void start();
