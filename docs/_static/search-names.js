// Puts names first in Sphinx's search: "Conv2d", "nn.Conv2d", "rcnn_resnet", "resnet50".
// Sphinx splits a query at its dots and ranks the pieces; here a name is compared as a whole.
(() => {
  "use strict";

  const plain = (text) => text.toLowerCase().replace(/[_.\s-]/g, "");

  // What nobody writes in a sentence: a dot inside, an underscore, a digit, a capital inside.
  const looksLikeName = (query) => /\w\.\w|_|\d|\w[A-Z]/.test(query);

  // How well a name answers the query; 0 where it does not.
  function fit(name, query) {
    const last = name.slice(name.lastIndexOf(".") + 1);
    const [whole, end, asked] = [plain(name), plain(last), plain(query)];
    if (name === query) return 1000;
    if (name.endsWith(`.${query}`)) return 900; // capitals count: Conv2d is not conv2d
    if (looksLikeName(query) && last.startsWith(query)) return 850;
    if (whole === asked || end === asked) return 800;
    if (!looksLikeName(query)) return 0;
    if (end.startsWith(asked)) return 600;
    if (whole.endsWith(asked)) return 500;
    return whole.includes(asked) ? 400 : 0;
  }

  // Names in the form of Sphinx's results: document, title, anchor, description, score, file, kind.
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
        // Kernels have the names of the functions that people call, which come first.
        const rank = score - (name.startsWith("lucid.kernels.") ? 300 : 0);
        results.push([docnames[file], name, `#${id}`, about, rank, filenames[file], "object"]);
      }
    }
    return results;
  }

  // A page that is about one name is found as that name, as its title and by its text: once is enough.
  function once(results) {
    const seen = new Set();
    return results.filter(([page, , anchor]) => {
      const own = !anchor || anchor.endsWith(page.split("/").pop());
      const key = own ? page : page + anchor;
      return !seen.has(key) && seen.add(key);
    });
  }

  const search = Search._performSearch;
  Search._performSearch = (query, ...terms) => {
    // Sphinx shows the last of its list first.
    const mine = names(query.trim()).sort((a, b) => b[4] - a[4] || a[1].localeCompare(b[1], "en", { numeric: true }));
    return once([...mine, ...search(query, ...terms).reverse()]).reverse();
  };
})();
