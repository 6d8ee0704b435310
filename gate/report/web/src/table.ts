// Sorting of a table of tasks: a button in each header; aria-sort gives the order.

import { ascending, descending } from "d3-array";
import { element } from "./dom";

export function sortable(table: HTMLTableElement): void {
  const body = table.tBodies[0] as HTMLTableSectionElement;
  const headers = [...table.querySelectorAll<HTMLTableCellElement>("thead th")];
  headers.forEach((header, column) => {
    const type = header.dataset.sort;
    if (type === undefined) return;
    const button = element("button", "", ...header.childNodes);
    button.type = "button";
    header.append(button);
    button.addEventListener("click", () => {
      // the largest numbers are the most interesting
      const first = type === "number" ? "descending" : "ascending";
      const reverse = type === "number" ? "ascending" : "descending";
      const order = header.getAttribute("aria-sort") === first ? reverse : first;
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", order);
      const value = (row: HTMLTableRowElement): string | number => {
        const text = row.cells[column]?.dataset.v ?? "";
        return type === "number" ? Number(text) : text;
      };
      const compare = order === "ascending" ? ascending : descending;
      body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
    });
  });
}
