// Makes the table of all models sortable and filterable. Without it the table is as useful to read.
(() => {
  "use strict";

  const collator = new Intl.Collator(undefined, { numeric: true });

  // "25,557,032" sorts as a number; a cell without digits only as text.
  const value = (row, column) => row.cells[column].textContent.trim().replace(/(\d),(?=\d)/g, "$1");

  function sortBy(table, column, header) {
    const descending = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => collator.compare(value(a, column), value(b, column)));
    body.append(...(descending ? rows.reverse() : rows));
  }

  function filter(table, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word));
    }
  }

  function enhance(table) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(table, column, header));
      header.append(button);
    });
    const field = document.createElement("input");
    field.type = "search";
    field.className = "lucid-models-filter";
    field.placeholder = "Filter: name, task, family, plugin";
    field.setAttribute("aria-label", "Filter models");
    field.addEventListener("input", () => filter(table, field.value));
    const wrapper = table.closest(".table-wrapper") || table;
    wrapper.before(field);
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.lucid-models").forEach(enhance);
  });
})();
