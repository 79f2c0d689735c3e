// Make boxes that scroll horizontally focusable, so that the keyboard can scroll them.
(() => {
  "use strict";

  const BOXES = ".highlight pre, .table-wrapper";

  function update(box) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }

  document.addEventListener("DOMContentLoaded", () => {
    const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => update(target)));
    document.querySelectorAll(BOXES).forEach((box) => observer.observe(box));
  });
})();
