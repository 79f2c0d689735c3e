"""What happens in a build: pages written at its start, docstrings not shown twice."""

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

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

    from lucid.models import ModelInfo

__all__ = ["ModelPages"]

_log = getLogger(__name__)

#: A model, its line of the table, and what its page says if it could be built.
Member: TypeAlias = "tuple[ModelInfo, Row, ModelFacts | None]"

#: First line of every page written here; a file without it is never touched.
_GENERATED = ".. Written by lucid.sphinxext from the registry; changes here are lost.\n\n"


class ModelPages:
    """The model pages of one build; its methods are handlers of Sphinx's events."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def write(self, app: Sphinx) -> None:
        """Write a page for every model, and the table of all; at ``builder-inited``.

        Parameters
        ----------
        app : sphinx.application.Sphinx
            The build.
        """
        directory = app.config.lucid_models_dir.strip("/")
        plugin_warnings = PluginWarnings(directory, app.config.lucid_models_strict)
        infos = _infos(app, plugin_warnings)
        for info in infos:
            plugin_warnings.add_page(page_name(info), info.source, info.version or "")
        plugin_warnings.install()
        template = model_template(app)
        families = family_pages(info.family for info in infos)
        members: dict[str, list[Member]] = {family: [] for family in families}
        pages: dict[str, str] = {}
        rows: list[Row] = []
        for info in status_iterator(
            infos, "building models... ", length=len(infos), stringify_func=lambda i: i.name
        ):
            facts = _facts(info, plugin_warnings, bool(app.config.lucid_models_multiply_adds))
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
        """Leave only the signature of a builder; at ``autodoc-process-docstring``.

        Its page renders the docstring's sections in an order of its own, so
        ``autofunction`` must not render them again.
        """
        package, _, model = name.rpartition(".")
        if what == "function" and package == "lucid.models" and model in self.names:
            lines.clear()

    def keep_plain_text(
        self, app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement
    ) -> Node | None:
        """Leave a class in a builder's signature as it is; at ``missing-reference``, last.

        A plugin's site need not document the class that its builders return, and
        the page's author did not write the reference.
        """
        page = node.get("refdoc", "").startswith(f"{app.config.lucid_models_dir.strip('/')}/")
        return text if page and _in_signature(node) else None


def _in_signature(node: Node | None) -> bool:
    while node is not None and not isinstance(node, desc_signature):
        node = node.parent
    return node is not None


def _infos(app: Sphinx, plugin_warnings: PluginWarnings) -> list[ModelInfo]:
    """The models to document; plugins that did not load are reported."""
    import lucid.models

    wanted = app.config.lucid_models_plugins
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # reported below, by name
        plugins = lucid.models.list_plugins()
    for plugin in plugins:
        if plugin.error and (wanted is None or plugin.distribution in wanted):
            plugin_warnings.report(plugin.distribution, plugin.version, str(plugin.error))
    infos = []
    for name in lucid.models.list_models():
        try:
            info = lucid.models.model_info(name)
        except PluginError as error:  # one distribution registers the name twice
            source = name.partition(":")[0]
            plugin_warnings.report(source, "", f"model {name}: {error}")
            continue
        if wanted is None or info.distribution in wanted:
            infos.append(info)
    return infos


def _facts(
    info: ModelInfo, plugin_warnings: PluginWarnings, multiply_adds: bool
) -> ModelFacts | str:
    """What the page says, or the page that says why there is nothing to say."""
    try:
        return collect_facts(info, multiply_adds=multiply_adds)
    except Exception as error:  # whatever a plugin's code raises must not end the build
        text = f"{type(error).__name__}: {error}"
    plugin_warnings.report(info.source, info.version or "", f"model {info.name}: {text}")
    return failure_page(info.name, info.origin, text)


def _family(
    name: str, page: str, members: Sequence[Member], plugin_warnings: PluginWarnings
) -> str:
    """The page of a family; it has an introduction only where it is clear whose that is."""
    introduction = ""
    owners = {(info.source, info.version or "") for info, _, _ in members}
    if len(owners) == 1:
        plugin_warnings.add_page(page, *owners.pop())
        introduction = common_introduction([facts.docstring for _, _, facts in members if facts])
    return family_page(name, introduction, [(row, info.summary) for info, row, _ in members])


def _write(folder: Path, pages: dict[str, str]) -> None:
    """Bring the folder up to date; an unchanged page keeps its time, so that Sphinx skips it."""
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
