"""Reference pages from ``__all__``: one for each public name, one for each public module.

A name that several modules export (``lucid.exp`` is ``lucid.ops.exp``) has one page,
under the first of the modules in ``reference_modules``; references to it by any of
its names, the one it is defined under included, lead there.
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
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

from lucid.kernels import Kernel

MARK = ".. Written from __all__ by _ext/reference.py; changes here are lost.\n\n"

#: Object pages are reached from their module's table and by search.  In the sidebar of
#: every page, hundreds of them would bury the rest, and take most of a build's time.
ORPHAN = ":orphan:\n\n"


class Reference:
    """The pages of one build, and where each documented object is at home."""

    def __init__(self) -> None:
        self.homes: dict[int, str] = {}
        self.kept: list[Any] = []  # so that no id is given twice
        self.last_names: dict[str, list[str]] = {}

    def write(self, app: Sphinx) -> None:
        """Write every page that has changed; at ``builder-inited``."""
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
                    continue  # has a page of its own, or is none of the public ones
                if name in models and inspect.isfunction(value):
                    self.note(value, f"lucid.models.{name}")
                elif not (shareable(value) and identity(value) in self.homes):
                    self.note(value, full)
                    pages[full] = ORPHAN + object_page(full, value)
        self.sync(folder, pages)

    def note(self, value: Any, full: str) -> None:
        self.last_names.setdefault(full.rpartition(".")[2], []).append(full)
        if shareable(value):
            self.homes.setdefault(identity(value), full)
            self.kept.append(value)

    def sync(self, folder: Path, pages: dict[str, str]) -> None:
        for old in folder.glob("*.rst"):
            if old.stem not in pages and old.read_text(encoding="utf-8").startswith(MARK):
                old.unlink()
        for name, text in pages.items():
            path = folder / f"{name}.rst"
            if not path.exists() or path.read_text(encoding="utf-8") != MARK + text:
                path.write_text(MARK + text, encoding="utf-8")

    def resolve(self, app: Sphinx, env: Any, node: Any, content: Any) -> nodes.Node | None:
        """Lead a reference by another name of an object to its page; at ``missing-reference``."""
        if node.get("refdomain") != "py":
            return None
        target = node["reftarget"]
        home = self.home_of(target) or self.home_of(f"{node.get('py:module')}.{target}")
        if home is None and "." not in target:
            same = self.last_names.get(target, [])
            home = same[0] if len(same) == 1 else None
        entry = env.get_domain("py").objects.get(home)
        if entry is None:
            return None
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, content, home
        )

    def leave_unlinked(self, app: Sphinx, env: Any, node: Any, content: Any) -> nodes.Node | None:
        """Leave alone what nobody wrote as a reference; at ``missing-reference``, last.

        An annotation in a signature, or a base class, is linked where it has a page
        (an alias of a type, or a private class, has none); so is a word in single
        backticks, which is how docstrings set off the names of arguments.
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

    def home_of(self, target: str) -> str | None:
        """The page of what ``target`` imports as; a method's is its class's."""
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
                home = self.homes.get(identity(value))
                if home is not None:
                    return ".".join([home, *parts[i + 1 :]])
            return None
        return None


def public_names(module: Any) -> list[str]:
    return [name for name in getattr(module, "__all__", ()) if not name.startswith("__")]


def shareable(value: Any) -> bool:
    """Whether two names for this value mean the same thing (two equal numbers do not)."""
    return inspect.isclass(value) or inspect.isroutine(value)


def identity(value: Any) -> int:
    """The same number for a function and what wraps it."""
    return id(inspect.unwrap(value) if inspect.isroutine(value) else value)


def object_page(full: str, value: Any) -> str:
    head = f"{title(full)}\n\nExported by :py:mod:`{full.rpartition('.')[0]}`.\n\n"
    if inspect.isclass(value) and is_ours(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        options = "" if kind == "exception" else "   :members:\n"
        if getattr(value, "_is_protocol", False):  # never constructed: no (*args, **kwargs)
            full += "()"
    elif inspect.isroutine(value):
        kind, options = "function", ""
    elif isinstance(value, Kernel):
        return head + kernel_text(full, value)
    else:
        # autodoc would show what somebody else wrote about the value's class.
        return f"{head}.. py:data:: {full}\n\n   {data_text(full, value)}\n"
    return f"{head}.. auto{kind}:: {full}\n{options}"


def kernel_text(full: str, kernel: Kernel) -> str:
    return (
        f".. py:data:: {full}\n\n"
        "   Its two forms take the same arguments; this is the one in NumPy:\n\n"
        f"   .. autofunction:: lucid.kernels.reference.{kernel.module}.{kernel.name}\n"
        "      :no-index:\n"
    )


def is_ours(value: Any) -> bool:
    return getattr(value, "__module__", "").partition("_")[0].partition(".")[0] == "lucid"


def data_text(full: str, value: Any) -> str:
    """The ``#:`` comment where the name is assigned, else the value itself."""
    name = full.rpartition(".")[2]
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("lucid") and vars(module).get(name) is value:
            comments = ModuleAnalyzer.for_module(module_name).find_attr_docs()
            if ("", name) in comments:
                return "\n   ".join(comments["", name]).strip()
    if isinstance(value, Kernel):
        return (inspect.getdoc(value.reference) or "").partition("\n\n")[0]
    if inspect.isclass(value):
        return f"NumPy's ``{value.__name__}``."
    return f"``{value!r}``"


def summary(full: str, value: Any) -> str:
    """The first paragraph of what is said about a name, on one line."""
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
    """Keep napoleon from reading "The size: in bytes." of a property as a type and a text."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(": ", " -- ", 1)


def title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}"


def setup(app: Sphinx) -> dict[str, Any]:
    reference = Reference()
    app.add_config_value("reference_modules", [], "env", types=frozenset({list}))
    app.connect("builder-inited", reference.write)
    app.connect("missing-reference", reference.resolve)
    app.connect("missing-reference", reference.leave_unlinked, priority=900)
    app.connect("autodoc-process-docstring", keep_colon, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
