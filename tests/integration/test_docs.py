"""The documentation builds, is complete, and its examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

import lucid

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("markdown_examples.py")
PACKAGES = ("lucid", "lucid_models_classification", "lucid_models_detection")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("lucid_*/*.md"), *(ROOT / "docs").rglob("*.md")]
    if "_build" not in path.parts
)
DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODELS = lucid.models.list_models()


def run(*command: object, cwd: Path) -> str:
    environment = dict(os.environ, LUCID_DOCS_OFFLINE="1")
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- examples of pages ---------------------------------------------------------------


#: Pages whose examples run elsewhere, with the plugin or the weights that they use.
ELSEWHERE = {
    "docs/plugins.md": "test_plugins_page.py",
    "docs/weights.md": "test_weights_pages.py",
    "README.md": "test_weights_pages.py",
}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_examples_of_a_page_run(page, tmp_path):
    assert "examples ran" in run("-W", "error", RUNNER, ROOT / page, cwd=tmp_path)


# --- examples of docstrings ------------------------------------------------------------


def run_example(example: doctest.DocTest) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=DOCTEST_FLAGS, verbose=False)
    results = runner.run(example, out=report.append)
    assert results.failed == 0, "".join(report)


@pytest.mark.parametrize("name", MODELS)
def test_examples_of_a_model_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    builder = lucid.models.get_builder(name)
    assert ">>>" in (builder.__doc__ or ""), f"{name} shows no example"
    for example in doctest.DocTestFinder().find(inspect.unwrap(builder), name, globs={}):
        run_example(example)


def modules() -> list[str]:
    """List all modules of the three packages without importing them."""
    found = list(PACKAGES)
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        folders = list(spec.submodule_search_locations)
        found += [info.name for info in pkgutil.walk_packages(folders, f"{package}.")]
    return sorted(name for name in found if not name.endswith("__main__"))


class Finder(doctest.DocTestFinder):
    """Doctest finder that also looks into wrapped functions."""

    def _from_module(self, module, value):
        unwrapped = inspect.unwrap(value) if inspect.isfunction(value) else value
        return super()._from_module(module, unwrapped)


@pytest.mark.parametrize("name", modules())
def test_examples_of_a_module_run(name, tmp_path, monkeypatch):
    """Run each docstring with only the documented name defined."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    builders = {inspect.unwrap(lucid.models.get_builder(model)) for model in MODELS}
    for example in Finder().find(module, name, globs={}):
        top = example.name.removeprefix(f"{name}.").partition(".")[0]
        owner = getattr(module, top, None)
        if callable(owner) and inspect.unwrap(owner) in builders:
            continue  # ran above
        example.globs = {} if owner is None else {top: owner}
        run_example(example)


# --- the site --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build the site with the documented command, or take the one in LUCID_SITE."""
    if built := os.environ.get("LUCID_SITE"):
        return Path(built)
    out = tmp_path_factory.mktemp("site")
    run("-m", "sphinx", "-W", "-n", "-q", "-d", out / "trees", ROOT / "docs", out / "html", cwd=out)
    return out / "html"


def page_of(site: Path, model: str) -> str:
    return (site / "models" / f"{model}.html").read_text(encoding="utf-8")


def test_every_registered_model_has_a_page(site):
    pages = {path.stem for path in (site / "models").glob("*.html")}
    assert pages == {*MODELS, "index"}
    families = {path.stem for path in (site / "models" / "families").glob("*.html")}
    assert families == {lucid.models.model_info(name).family for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_model_page_has_its_sections_in_order(site, name):
    page = page_of(site, name)
    text = " ".join(re.sub(r"<[^>]+>", "", page.partition("<article")[2]).split())
    total = lucid.models.model_info(name).total_parameters
    wanted = [
        name,
        f"lucid.models. {name}(",
        f"Total Parameters: {total:,}",
        "Function Signature",
        "@register_model",
        f"def {name}(",
        "Parameters",
        "Returns",
        "Examples",
        "Training Notes",
    ]
    position = 0
    for item in wanted:
        found = text.replace(f"lucid.models.{name}", f"lucid.models. {name}").find(item, position)
        assert found >= 0, f"{item!r} is missing or out of order"
        position = found + len(item)


@pytest.mark.parametrize(
    ("name", "total", "distinct"),
    [
        ("faster_rcnn_resnet_50_fpn", "43,515,902", "43,506,366"),
        ("faster_rcnn_resnet_101_fpn", "62,508,030", "62,498,494"),
        ("retinanet_resnet_50_fpn", "34,674,505", "34,664,969"),
    ],
)
def test_detector_page_has_both_parameter_counts_and_warnings(site, name, total, distinct):
    page = page_of(site, name)
    article = page.partition("<article")[2]
    for text in (total, distinct, "backbone_num_classes", ".backbone.net", "lr"):
        assert text in article
    assert article.index('class="admonition tip"') < article.index('class="admonition warning"')


def test_every_public_name_has_a_page(site):
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    names = {name for kind in inventory if kind.startswith("py:") for name in inventory[kind]}
    documented = {identity(value) for name in names if (value := found_as(name)) is not None}
    models = {f"{package}.{name}" for package in PACKAGES for name in MODELS}
    missing = []
    for package in PACKAGES:
        for name in importlib.import_module(package).__all__:
            full = f"{package}.{name}"
            if full not in names | models and identity(found_as(full)) not in documented:
                missing.append(full)
    assert not missing


def identity(value: object) -> int:
    return id(inspect.unwrap(value) if inspect.isroutine(value) else value)


def found_as(full: str) -> object:
    """Import a documented name; None for a member of a class."""
    module, _, name = full.rpartition(".")
    if module.partition(".")[0] not in PACKAGES:
        return None
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


class Links(HTMLParser):
    """Collect link targets and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(values["id"])
        for key in ("href", "src"):
            if values.get(key):
                self.targets.add(values[key])


def test_internal_links_resolve(site):
    pages: dict[Path, Links] = {}
    for path in site.rglob("*.html"):
        pages[path] = Links()
        pages[path].feed(path.read_text(encoding="utf-8"))
    broken = []
    for path, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            where = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchored = not parts.fragment or where not in pages or parts.fragment == "top"
            if not where.exists() or not (
                anchored or unquote(parts.fragment) in pages[where].anchors
            ):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert not broken


def test_pages_load_nothing_from_other_hosts(site):
    """Scripts, styles, fonts and images are local; links may point to other sites."""
    loaded = re.compile(
        r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(?P<url>(?:https?:)?//[^\"]+)\""
    )
    for path in site.rglob("*.html"):
        assert not loaded.findall(path.read_text(encoding="utf-8")), path
