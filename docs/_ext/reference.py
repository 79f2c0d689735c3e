"""Reference pages from ``__all__``: one for each public name, one for each public module.

A name that several modules export (``lucid.exp`` is ``lucid.ops.exp``) has one page,
under the first of the modules in ``reference_modules``; references to it by any of
its names, the one it is defined under included, lead there.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

MARK = ".. Written from __all__ by _ext/reference.py; changes here are lost.\n\n"


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
            own: list[str] = []
            for name in names:
                value = getattr(module, name)
                full = f"{module_name}.{name}"
                if inspect.ismodule(value):
                    continue
                if name in models and inspect.isfunction(value):
                    self.note(value, f"lucid.models.{name}")
                    continue
                if shareable(value) and id(value) in self.homes:
                    continue
                self.note(value, full)
                own.append(full)
                pages[full] = object_page(full, value)
            members = [f"{module_name}.{name}" for name in names]
            pages[module_name] = module_page(module_name, members, own)
        self.sync(folder, pages)

    def note(self, value: Any, full: str) -> None:
        self.last_names.setdefault(full.rpartition(".")[2], []).append(full)
        if shareable(value):
            self.homes.setdefault(id(value), full)
            self.kept.append(value)

    def sync(self, folder: Path, pages: dict[str, str]) -> None:
        for old in folder.glob("*.rst"):
            if old.stem not in pages and old.read_text(encoding="utf-8").startswith(MARK):
                old.unlink()
        for name, text in pages.items():
            path = folder / f"{name}.rst"
            if not path.exists() or path.read_text(encoding="utf-8") != MARK + text:
                path.write_text(MARK + text, encoding="utf-8")

    def resolve(self, app: Sphinx, env: Any, node: Any, content: Any) -> nodes.reference | None:
        """Lead a reference by another name of an object to its page; at ``missing-reference``."""
        if node.get("refdomain") != "py":
            return None
        target = node["reftarget"]
        home = self.home_of(target) or self.home_of(f"{node.get('py:module')}.{target}")
        if home is None and "." not in target:
            same = self.last_names.get(target, [])
            home = same[0] if len(same) == 1 else None
        if home is None:
            return None
        objects = env.get_domain("py").objects
        if home not in objects:
            return None
        entry = objects[home]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, content, home
        )

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
                home = self.homes.get(id(value))
                if home is not None:
                    return ".".join([home, *parts[i + 1 :]])
            return None
        return None


def public_names(module: Any) -> list[str]:
    return [name for name in module.__all__ if not name.startswith("__")]


def shareable(value: Any) -> bool:
    """Whether two names for this value mean the same thing (two equal numbers do not)."""
    return inspect.isclass(value) or inspect.isroutine(value)


def object_page(full: str, value: Any) -> str:
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        options = "" if kind == "exception" else "   :members:\n"
    elif callable(value) and inspect.isroutine(value):
        kind, options = "function", ""
    else:
        kind, options = "data", "   :no-value:\n"
    return f"{title(full)}\n\n.. auto{kind}:: {full}\n{options}"


def module_page(name: str, members: list[str], own: list[str]) -> str:
    table = "".join(f"   ~{member}\n" for member in members)
    pages = "".join(f"   {member}\n" for member in own)
    return (
        f"{title(name)}\n\n.. automodule:: {name}\n   :no-members:\n\n"
        f".. currentmodule:: {name}\n\n"
        f".. autosummary::\n   :nosignatures:\n\n{table}\n"
        f".. toctree::\n   :hidden:\n\n{pages}"
    )


def title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}"


def setup(app: Sphinx) -> dict[str, Any]:
    reference = Reference()
    app.add_config_value("reference_modules", [], "env", types=frozenset({list}))
    app.connect("builder-inited", reference.write)
    app.connect("missing-reference", reference.resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
