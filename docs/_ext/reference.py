"""API reference pages generated from ``__all__``: one per public module and public name.

A name that several modules export (``lucid.exp`` is ``lucid.ops.exp``) has one page, under the
first of the modules in ``reference_modules``.  References by any of its names resolve to it.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_signature
from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

from lucid.kernels import Kernel

MARK = ".. Written from __all__ by _ext/reference.py; changes here are lost.\n\n"

#: Object pages are linked from their module's table.  Hundreds of them in the sidebar of every
#: page would hide the rest and dominate the build time.
ORPHAN = ":orphan:\n\n"


class Reference:
    """Reference pages of one build, and the page of each documented object."""

    def __init__(self) -> None:
        self.pages: dict[int, str] = {}
        self.objects: list[Any] = []  # keeps objects alive, so that ids stay unique
        self.last_names: dict[str, list[str]] = {}

    def write(self, app: Sphinx) -> None:
        """Write all changed pages; handler of ``builder-inited``."""
        import lucid.models

        folder = Path(app.srcdir) / "reference"
        modules = {name: importlib.import_module(name) for name in app.config.reference_modules}
        models = set(lucid.models.list_models())
        pages: dict[str, str] = {}
        for module_name, module in modules.items():
            names = sorted(public_names(module), key=str.lower)
            members = {name: getattr(module, name) for name in names}
            pages[module_name] = module_page(module_name, members)
            for name, value in members.items():
                full = f"{module_name}.{name}"
                if inspect.ismodule(value):
                    continue  # has its own page, or is not public
                if name in models and inspect.isfunction(value):
                    self.add(value, f"lucid.models.{name}")
                elif not (shareable(value) and identity(value) in self.pages):
                    self.add(value, full)
                    pages[full] = ORPHAN + object_page(full, value)
        self.sync(folder, pages)

    def add(self, value: Any, full: str) -> None:
        self.last_names.setdefault(full.rpartition(".")[2], []).append(full)
        if shareable(value):
            self.pages.setdefault(identity(value), full)
            self.objects.append(value)

    def sync(self, folder: Path, pages: dict[str, str]) -> None:
        for old in folder.glob("*.rst"):
            if old.stem not in pages and old.read_text(encoding="utf-8").startswith(MARK):
                old.unlink()
        for name, text in pages.items():
            path = folder / f"{name}.rst"
            if not path.exists() or path.read_text(encoding="utf-8") != MARK + text:
                path.write_text(MARK + text, encoding="utf-8")

    def resolve(self, app: Sphinx, env: Any, node: Any, content: Any) -> nodes.Node | None:
        """Resolve references by other names of an object; handler of ``missing-reference``."""
        if node.get("refdomain") != "py":
            return None
        target = node["reftarget"]
        page = self.page_of(target) or self.page_of(f"{node.get('py:module')}.{target}")
        if page is None and "." not in target:
            same = self.last_names.get(target, [])
            page = same[0] if len(same) == 1 else None
        entry = env.get_domain("py").objects.get(page)
        if entry is None:
            return None
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, content, page
        )

    def keep_plain_text(self, app: Sphinx, env: Any, node: Any, content: Any) -> nodes.Node | None:
        """Keep unresolved implicit references as text; last handler of ``missing-reference``.

        Annotations, base classes and words in single backticks (names of arguments) are links
        only if they have a page.
        """
        if node.get("reftype") == "obj" and "." not in node["reftarget"]:
            return content
        while node is not None:
            if isinstance(node, desc_signature):
                return content
            if isinstance(node, nodes.paragraph) and node.astext().startswith("Bases: "):
                return content
            node = node.parent
        return None

    def page_of(self, target: str) -> str | None:
        """Return the page of the object ``target``; methods are on the page of their class."""
        parts = target.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            try:
                value: Any = importlib.import_module(".".join(parts[:cut]))
            except ImportError:
                continue
            for i, part in enumerate(parts[cut:], cut):
                try:
                    value = getattr(value, part)
                except AttributeError:
                    return None
                page = self.pages.get(identity(value))
                if page is not None:
                    return ".".join([page, *parts[i + 1 :]])
            return None
        return None


def public_names(module: Any) -> list[str]:
    return [name for name in getattr(module, "__all__", ()) if not name.startswith("__")]


def shareable(value: Any) -> bool:
    """Whether several names of this value share a page; constants do not."""
    return inspect.isclass(value) or inspect.isroutine(value)


def identity(value: Any) -> int:
    """Return the same ID for a function and its wrappers."""
    return id(inspect.unwrap(value) if inspect.isroutine(value) else value)


def object_page(full: str, value: Any) -> str:
    head = f"{title(full)}\n\nExported by :py:mod:`{full.rpartition('.')[0]}`.\n\n"
    if inspect.isclass(value) and is_ours(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        options = "" if kind == "exception" else "   :members:\n"
        if getattr(value, "_is_protocol", False):  # not constructed: hide the arguments
            full += "()"
    elif inspect.isroutine(value):
        kind, options = "function", ""
    elif isinstance(value, Kernel):
        return head + kernel_text(full, value)
    else:
        # autodoc would show the docstring of the value's class.
        return f"{head}.. py:data:: {full}\n\n   {data_text(full, value)}\n"
    return f"{head}.. auto{kind}:: {full}\n{options}"


def kernel_text(full: str, kernel: Kernel) -> str:
    return (
        f".. py:data:: {full}\n\n"
        "   The NumPy reference; the compiled kernel takes the same arguments:\n\n"
        f"   .. autofunction:: lucid.kernels.reference.{kernel.module}.{kernel.name}\n"
        "      :no-index:\n"
    )


def is_ours(value: Any) -> bool:
    return getattr(value, "__module__", "").partition("_")[0].partition(".")[0] == "lucid"


def data_text(full: str, value: Any) -> str:
    """Return the ``#:`` comment of the assignment, else the value."""
    name = full.rpartition(".")[2]
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("lucid") and vars(module).get(name) is value:
            try:
                comments = ModuleAnalyzer.for_module(module_name).find_attr_docs()
            except PycodeError:  # Sphinx 9.0 cannot parse {**a} in the arguments of decorators
                continue
            if ("", name) in comments:
                return "\n   ".join(comments["", name]).strip()
    if isinstance(value, Kernel):
        return (inspect.getdoc(value.reference) or "").partition("\n\n")[0]
    if inspect.isclass(value):
        return f"NumPy's ``{value.__name__}``."
    return f"``{value!r}``"


def summary(full: str, value: Any) -> str:
    """Return the first paragraph of the documentation of a name on one line."""
    described = inspect.isclass(value) and is_ours(value)
    if described or inspect.isroutine(value) or inspect.ismodule(value):
        text = inspect.getdoc(value) or ""
    else:
        text = data_text(full, value)
    return " ".join(text.split("\n\n")[0].split())


def module_page(name: str, members: dict[str, Any]) -> str:
    rows = ""
    for member, value in members.items():
        full = f"{name}.{member}"
        rows += f"   * - :py:obj:`{member} <{full}>`\n     - {summary(full, value)}\n"
    table = f".. list-table::\n   :widths: 30 70\n\n{rows}\n" if members else ""
    return (
        f"{title(name)}\n\n.. automodule:: {name}\n   :no-members:\n\n"
        f".. currentmodule:: {name}\n\n"
        f"{table}"
    )


def keep_colon(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Prevent napoleon from parsing ``text: text`` in a property as type and description."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(": ", " -- ", 1)


def title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}"


def setup(app: Sphinx) -> dict[str, Any]:
    reference = Reference()
    app.add_config_value("reference_modules", [], "env", types=frozenset({list}))
    app.connect("builder-inited", reference.write)
    app.connect("missing-reference", reference.resolve)
    app.connect("missing-reference", reference.keep_plain_text, priority=900)
    app.connect("autodoc-process-docstring", keep_colon, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
