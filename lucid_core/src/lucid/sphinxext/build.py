"""Event handlers of a build: write the pages, hide docstrings that they already contain."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from docutils.nodes import Node, TextElement
from sphinx.addnodes import desc_signature, pending_xref
from sphinx.util.display import status_iterator
from sphinx.util.logging import getLogger

from lucid.errors import PluginError, PluginWarning
from lucid.sphinxext.family import common_introduction, family_page, family_pages
from lucid.sphinxext.page import ModelFacts, collect_facts, failure_page, page_name
from lucid.sphinxext.plugin_warnings import PluginWarnings
from lucid.sphinxext.table import Row, index_page
from lucid.sphinxext.template import model_template
from lucid.sphinxext.weights import collect_weights

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

    from lucid.models import ModelInfo
    from lucid.weights import CatalogEntry

__all__ = ["ModelPages"]

_log = getLogger(__name__)

#: A model, its row of the table, and the data of its page if it could be built.
Member: TypeAlias = "tuple[ModelInfo, Row, ModelFacts | None]"

#: First line of generated pages; other files are not modified.
_GENERATED = ".. Written by lucid.sphinxext from the registry; changes here are lost.\n\n"


class ModelPages:
    """Model pages of one build; methods are handlers of Sphinx events."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def write(self, app: Sphinx) -> None:
        """Write the pages of models and families and the table; handler of ``builder-inited``."""
        directory = app.config.lucid_models_dir.strip("/")
        plugin_warnings = PluginWarnings(directory, app.config.lucid_models_strict)
        infos = _infos(app, plugin_warnings)
        for info in infos:
            plugin_warnings.add_page(page_name(info), info.source, info.version or "")
        plugin_warnings.install()
        weights, failed = collect_weights(app.config.lucid_models_plugins)
        for plugin, message in failed:
            owner = plugin.entry_point
            plugin_warnings.report(owner.distribution, owner.version, f"its weights: {message}")
        template = model_template(app)
        families = family_pages(info.family for info in infos)
        members: dict[str, list[Member]] = {family: [] for family in families}
        pages: dict[str, str] = {}
        rows: list[Row] = []
        for info in status_iterator(
            infos, "building models... ", length=len(infos), stringify_func=lambda i: i.name
        ):
            facts = _facts(
                info, plugin_warnings, bool(app.config.lucid_models_multiply_adds), weights
            )
            built = facts if isinstance(facts, ModelFacts) else None
            if built:
                self.names.add(info.name)
            pages[page_name(info)] = template(built) if built else str(facts)
            rows.append(Row.of(info, built))
            members[info.family].append((info, rows[-1], built))
        for family, page in families.items():
            pages[page] = _family(family, page, members[family], plugin_warnings)
        pages["index"] = index_page(rows, families)
        _write(Path(app.srcdir) / directory, pages)

    def clear_docstring(
        self, app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
    ) -> None:
        """Clear the docstring of a builder; handler of ``autodoc-process-docstring``.

        The page renders the sections itself, so ``autofunction`` only renders the signature.
        """
        package, _, model = name.rpartition(".")
        if what == "function" and package == "lucid.models" and model in self.names:
            lines.clear()

    def keep_plain_text(
        self, app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement
    ) -> Node | None:
        """Keep unresolved classes in signatures as text; last handler of ``missing-reference``.

        The site of a plugin need not document the classes that its builders return.
        """
        page = node.get("refdoc", "").startswith(f"{app.config.lucid_models_dir.strip('/')}/")
        return text if page and _in_signature(node) else None


def _in_signature(node: Node | None) -> bool:
    while node is not None and not isinstance(node, desc_signature):
        node = node.parent
    return node is not None


def _infos(app: Sphinx, plugin_warnings: PluginWarnings) -> list[ModelInfo]:
    """Return the models to document and report plugins that failed to load."""
    import lucid.models

    selected = app.config.lucid_models_plugins
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # reported below
        plugins = lucid.models.list_plugins()
    for plugin in plugins:
        if plugin.error and (selected is None or plugin.distribution in selected):
            plugin_warnings.report(plugin.distribution, plugin.version, str(plugin.error))
    infos = []
    for name in lucid.models.list_models():
        try:
            info = lucid.models.model_info(name)
        except PluginError as error:  # one distribution registers the name twice
            source = name.partition(":")[0]
            plugin_warnings.report(source, "", f"model {name}: {error}")
            continue
        if selected is None or info.distribution in selected:
            infos.append(info)
    return infos


def _facts(
    info: ModelInfo,
    plugin_warnings: PluginWarnings,
    multiply_adds: bool,
    weights: Sequence[CatalogEntry],
) -> ModelFacts | str:
    """Return the data of a model's page, or the text of an error page."""
    try:
        return collect_facts(info, multiply_adds=multiply_adds, weights=weights)
    except Exception as error:  # errors in plugins must not end the build
        text = f"{type(error).__name__}: {error}"
    plugin_warnings.report(info.source, info.version or "", f"model {info.name}: {text}")
    return failure_page(info.name, info.origin, text)


def _family(
    name: str, page: str, members: Sequence[Member], plugin_warnings: PluginWarnings
) -> str:
    """Return the page of a family; only families of one plugin have an introduction."""
    introduction = ""
    owners = {(info.source, info.version or "") for info, _, _ in members}
    if len(owners) == 1:
        plugin_warnings.add_page(page, *owners.pop())
        introduction = common_introduction([facts.docstring for _, _, facts in members if facts])
    return family_page(name, introduction, [(row, info.summary) for info, row, _ in members])


def _write(folder: Path, pages: dict[str, str]) -> None:
    """Update the folder; unchanged pages keep their modification time, so Sphinx skips them."""
    for old in folder.rglob("*.rst"):
        name = old.relative_to(folder).with_suffix("").as_posix()
        if name not in pages and old.read_text(encoding="utf-8").startswith(_GENERATED):
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _GENERATED + text
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
