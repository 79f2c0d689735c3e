// Adds sorting and filtering to the table of models.
(() => {
  "use strict";

  const collator = new Intl.Collator(undefined, { numeric: true });

  // "25,557,032" sorts as a number.
  const value = (row, column) => row.cells[column].textContent.trim().replace(/(\d),(?=\d)/g, "$1");

  // "resnet50" finds resnet_50.
  const plain = (text) => text.toLowerCase().replace(/[_.-]/g, "");

  function sortBy(table, column, header) {
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const [left, right] = [value(a, column), value(b, column)];
      // Empty cells are last in either order.
      if (!left || !right) return Number(!left) - Number(!right);
      return sign * collator.compare(left, right);
    });
    body.append(...rows);
  }

  // Searchable text: cells with letters, not the counts.
  const content = (row) =>
    plain([...row.cells].map((cell) => cell.textContent).filter((text) => /\p{L}/u.test(text)).join(" "));

  function filter(table, query, status) {
    const words = query.split(/\s+/).map(plain).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = content(row);
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    status.textContent = words.length ? `${shown} of ${rows.length} models` : "";
  }

  function enhance(table) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(header.textContent.trim());
      button.addEventListener("click", () => sortBy(table, column, header));
      header.replaceChildren(button);
    });
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Filter: name, task, family, plugin";
    field.setAttribute("aria-label", "Filter models");
    const status = document.createElement("span");
    status.setAttribute("role", "status");
    field.addEventListener("input", () => filter(table, field.value, status));
    const bar = document.createElement("div");
    bar.className = "lucid-models-filter";
    bar.append(field, status);
    (table.closest(".table-wrapper") || table).before(bar);
    if (field.value) filter(table, field.value, status); // value restored by the browser
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.lucid-models").forEach(enhance);
  });
})();
