// The flip explorer: filters, a virtual list, and the selected flip.

import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
  type VirtualizerOptions,
} from "@tanstack/virtual-core";
import { ascending, descending } from "d3-array";
import { format } from "d3-format";
import type { Flip, Flips } from "./data";
import { element, find, option } from "./dom";
import { KINDS, showFlip } from "./flip";

const ROW = 68;
const count = format(",d");

export class Explorer {
  private readonly list = find<HTMLElement>("#list");
  private readonly rows = find<HTMLElement>("#list .rows");
  private readonly pane = find<HTMLElement>("#pane");
  private readonly article = find<HTMLElement>("#flip");
  private readonly sheet = find<HTMLDialogElement>("#sheet");
  private readonly narrow = matchMedia("(max-width: 899px)");
  private readonly texts: string[];
  private readonly virtual: Virtualizer<HTMLElement, HTMLElement>;
  private readonly options: VirtualizerOptions<HTMLElement, HTMLElement>;
  private shown: number[] = [];
  private selected = -1; // index in `shown`

  constructor(private readonly data: Flips) {
    this.texts = new Array<string>(data.flips.length);
    this.options = {
      count: 0,
      getScrollElement: () => this.list,
      estimateSize: () => ROW,
      overscan: 6,
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      onChange: () => this.draw(),
    };
    this.virtual = new Virtualizer(this.options);
    this.virtual._didMount();
    this.controls();
    this.keys();
    this.filter();
  }

  private controls(): void {
    const task = find<HTMLSelectElement>("#f-task");
    this.data.tasks.forEach((name, index) => task.append(option(index, name)));
    const form = find<HTMLFormElement>("#explorer form");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => this.filter());
    let timer = 0;
    find<HTMLInputElement>("#f-text").addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => this.filter(), 120);
    });
    const order = find<HTMLSelectElement>("#f-order");
    if (this.data.flips.every((flip) => flip.kl === null)) order.options[1]?.remove();
    for (const box of document.querySelectorAll<HTMLInputElement>(".kinds input")) {
      const number = this.data.flips.reduce((sum, flip) => sum + Number(flip.kind === Number(box.value)), 0);
      box.nextElementSibling?.append(element("b", "", count(number)));
    }
    this.narrow.addEventListener("change", () => this.layOut());
    this.sheet.addEventListener("close", () => this.list.focus());
    this.sheet.addEventListener("click", (event) => {
      if (event.target === this.sheet) this.sheet.close();
    });
    this.layOut();
  }

  /** Show the selected flip beside the list or, on a small screen, in a sheet above it. */
  private layOut(): void {
    if (this.narrow.matches) {
      const close = element("button", "close", "Close");
      close.type = "button";
      close.addEventListener("click", () => this.sheet.close());
      const [before, after] = [-1, 1].map((step) => {
        const button = element("button", "", step < 0 ? "Previous" : "Next");
        button.type = "button";
        button.addEventListener("click", () => this.select(this.selected + step));
        return button;
      });
      this.sheet.replaceChildren(element("div", "bar", before as Node, after as Node, close), this.article);
    } else {
      if (this.sheet.open) this.sheet.close();
      this.pane.replaceChildren(this.article);
    }
  }

  private text(index: number): string {
    const flip = this.data.flips[index] as Flip;
    return (this.texts[index] ??= [flip.prompt, flip.target, flip.baseline, flip.candidate, flip.item, ...flip.choices]
      .join("\n")
      .toLowerCase());
  }

  private filter(): void {
    const task = Number(find<HTMLSelectElement>("#f-task").value);
    const kinds = new Set(
      [...document.querySelectorAll<HTMLInputElement>(".kinds input:checked")].map((box) => Number(box.value)),
    );
    const words = find<HTMLInputElement>("#f-text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const flips = this.data.flips;
    this.shown = Array.from(flips.keys()).filter((index) => {
      const flip = flips[index] as Flip;
      return (
        (task < 0 || flip.task === task) &&
        kinds.has(flip.kind) &&
        words.every((word) => this.text(index).includes(word))
      );
    });
    const order = find<HTMLSelectElement>("#f-order").value;
    if (order === "kl") this.shown.sort((a, b) => descending(flips[a]?.kl ?? -1, flips[b]?.kl ?? -1));
    if (order === "task") this.shown.sort((a, b) => ascending(flips[a]?.task, flips[b]?.task) || a - b);
    find("#f-count").textContent =
      this.shown.length === flips.length
        ? `${count(flips.length)} flips`
        : `${count(this.shown.length)} of ${count(flips.length)} flips`;
    this.options.count = this.shown.length;
    this.virtual.setOptions({ ...this.options });
    this.virtual._willUpdate();
    this.virtual.measure();
    this.list.scrollTop = 0;
    this.selected = -1;
    this.article.replaceChildren(element("p", "none", this.shown.length ? "Select a flip." : "No flip matches."));
    if (!this.narrow.matches && this.shown.length) this.select(0);
    else this.draw();
  }

  private select(index: number): void {
    if (this.shown.length === 0) return;
    this.selected = Math.min(Math.max(index, 0), this.shown.length - 1);
    const flip = this.data.flips[this.shown[this.selected] as number] as Flip;
    showFlip(flip, this.data.tasks[flip.task] ?? "", this.article);
    this.pane.scrollTop = 0;
    this.sheet.scrollTop = 0;
    this.virtual.scrollToIndex(this.selected, { align: "auto" });
    this.draw();
  }

  private open(index: number): void {
    this.select(index);
    if (this.narrow.matches && this.selected >= 0 && !this.sheet.open) this.sheet.showModal();
  }

  private keys(): void {
    const steps: Record<string, (page: number) => number> = {
      ArrowDown: () => this.selected + 1,
      ArrowUp: () => this.selected - 1,
      PageDown: (page) => this.selected + page,
      PageUp: (page) => this.selected - page,
      Home: () => 0,
      End: () => this.shown.length - 1,
    };
    this.list.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (step) {
        this.select(step(Math.max(1, Math.floor(this.list.clientHeight / ROW) - 1)));
      } else if (event.key === "Enter" || event.key === " ") {
        this.open(Math.max(this.selected, 0));
      } else {
        return;
      }
      event.preventDefault();
    });
    this.list.addEventListener("click", (event) => {
      const row = (event.target as Element).closest<HTMLElement>("[role=option]");
      if (row) this.open(Number(row.dataset.index));
    });
  }

  private draw(): void {
    this.rows.style.height = `${this.virtual.getTotalSize()}px`;
    const rows = this.virtual.getVirtualItems().map((item) => this.row(item.index, item.start));
    this.rows.replaceChildren(...rows);
    const active = `flip-${this.selected}`;
    if (rows.some((row) => row.id === active)) this.list.setAttribute("aria-activedescendant", active);
    else this.list.removeAttribute("aria-activedescendant");
  }

  private row(index: number, start: number): HTMLElement {
    const flip = this.data.flips[this.shown[index] as number] as Flip;
    const change = element(
      "span",
      "change",
      element("span", "", clip(flip.baseline)),
      element("i", "", " → "),
      element("span", "", clip(flip.candidate)),
    );
    const row = element(
      "div",
      "row",
      element("span", `dot k${flip.kind}`, element("span", "sr", `${KINDS[flip.kind]}: `)),
      element("span", "question", clip(flip.prompt ?? flip.item)),
      element("span", "task", this.data.tasks[flip.task] ?? ""),
      change,
    );
    row.id = `flip-${index}`;
    row.dataset.index = String(index);
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(index === this.selected));
    row.setAttribute("aria-posinset", String(index + 1));
    row.setAttribute("aria-setsize", String(this.shown.length));
    row.style.transform = `translateY(${start}px)`;
    return row;
  }
}

function clip(text: string | null): string {
  const line = (text ?? "-").slice(0, 400).replace(/\s+/g, " ").trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line || "(empty)";
}
