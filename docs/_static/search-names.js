// Rank names first in Sphinx's search: "Conv2d", "nn.Conv2d", "rcnn_resnet", "resnet50".
// Sphinx splits a query at dots and ranks the parts; this compares whole names.
(() => {
  "use strict";

  const plain = (text) => text.toLowerCase().replace(/[_.\s-]/g, "");

  // Prose has no inner dots, underscores, digits or inner capitals.
  const looksLikeName = (query) => /\w\.\w|_|\d|\w[A-Z]/.test(query);

  // Score of a name for a query; 0 is no match.
  function fit(name, query) {
    const last = name.slice(name.lastIndexOf(".") + 1);
    const [whole, end, wanted] = [plain(name), plain(last), plain(query)];
    if (name === query) return 1000;
    if (name.endsWith(`.${query}`)) return 900; // case-sensitive: Conv2d is not conv2d
    if (looksLikeName(query) && last.startsWith(query)) return 850;
    if (whole === wanted || end === wanted) return 800;
    if (!looksLikeName(query)) return 0;
    if (end.startsWith(wanted)) return 600;
    if (whole.endsWith(wanted)) return 500;
    return whole.includes(wanted) ? 400 : 0;
  }

  // Matches as Sphinx results: document, title, anchor, description, score, file, kind.
  function names(query) {
    const { docnames, filenames, objects, objnames, titles } = Search._index;
    const results = [];
    for (const [prefix, entries] of Object.entries(objects)) {
      for (const [file, kind, , anchor, last] of entries) {
        const name = prefix ? `${prefix}.${last}` : last;
        const score = fit(name, query);
        if (!score) continue;
        const id = { "": name, "-": `${objnames[kind][1]}-${name}` }[anchor] ?? anchor;
        const own = docnames[file].split("/").pop();
        const about = name.endsWith(own) ? objnames[kind][2] : `${objnames[kind][2]}, in ${titles[file]}`;
        // Kernels share names with public functions, which rank first.
        const rank = score - (name.startsWith("lucid.kernels.") ? 300 : 0);
        results.push([docnames[file], name, `#${id}`, about, rank, filenames[file], "object"]);
      }
    }
    return results;
  }

  // Drop duplicates: a page about one name matches by name, title and text.
  function unique(results) {
    const seen = new Set();
    return results.filter(([page, , anchor]) => {
      const own = !anchor || anchor.endsWith(page.split("/").pop());
      const key = own ? page : page + anchor;
      return !seen.has(key) && seen.add(key);
    });
  }

  const search = Search._performSearch;
  Search._performSearch = (query, ...terms) => {
    // Sphinx shows its list in reverse order.
    const matches = names(query.trim()).sort((a, b) => b[4] - a[4] || a[1].localeCompare(b[1], "en", { numeric: true }));
    return unique([...matches, ...search(query, ...terms).reverse()]).reverse();
  };
})();
