"""Run the steps of the plugin pages in a new environment, in order.

The environment uses the packages of this one through a ``.pth`` file, and no package index: pip
installs only the new plugin into it.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid.models import zoo
from lucid.models.registry import ModelRegistry
from lucid.scaffold import PluginNames, core_requirement
from lucid.scaffold.project import render

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("markdown_examples.py")
PAGE = ROOT / "docs" / "plugins.md"
TEXT = PAGE.read_text(encoding="utf-8")

sys.path.insert(0, str(RUNNER.parent))
try:
    from markdown_examples import blocks, captioned_files
finally:
    sys.path.remove(str(RUNNER.parent))


class FreshEnvironment:
    """Create a virtual environment and a working directory."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", symlinks=os.name != "nt")
        scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = str(scripts / "python")
        paths = dict.fromkeys(sysconfig.get_path(key) for key in ("purelib", "platlib"))
        command = [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site = Path(subprocess.check_output(command, text=True).strip())
        lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in paths)
        (site / "seen.pth").write_text(lines)
        self.lucid = scripts / "lucid-of-here"
        self.lucid.write_text("import sys\nfrom lucid.cli import main\nsys.exit(main())\n")
        self.work = folder / "work"
        self.work.mkdir()

    def run(self, command: str, code: int = 0) -> str:
        """Run a line as a shell would: ``cd``, or ``python`` and ``lucid`` of the environment."""
        program, *arguments = shlex.split(command)
        if program == "cd":
            self.work = (self.work / arguments[0]).resolve()
            return ""
        if command == "python -m build":
            arguments.append("--no-isolation")
        started = {"python": [self.python], "lucid": [self.python, str(self.lucid)]}[program]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "LUCID_"))}
        pip = {"NO_INDEX": "1", "NO_BUILD_ISOLATION": "0", "DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            [*started, *arguments],
            cwd=self.work,
            env={**kept, **{f"PIP_{key}": value for key, value in pip.items()}},
            capture_output=True,
            text=True,
            timeout=300,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, f"{command}\n{output}"
        assert "Traceback" not in output
        return output

    def models(self) -> list[str]:
        return self.run("lucid models").splitlines()


@pytest.fixture
def fresh(tmp_path) -> FreshEnvironment:
    return FreshEnvironment(tmp_path)


def follow(fresh: FreshEnvironment, text: str) -> list[str]:
    """Run the steps of a page, compare their output, and return them."""
    done, output = [], ""
    for block in blocks(text):
        if block.language == "console":
            for line in block.body.splitlines():
                command = line.removeprefix("$ ")
                if "uninstall" in command:  # run the Python examples while the plugin is installed
                    assert "10 examples ran" in fresh.run(f"python -W error {RUNNER} {PAGE}")
                output = fresh.run(command)
                done.append(command)
        elif block.language == "text" and block.follows and output:
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            same = doctest.OutputChecker().check_output(block.body, output, flags)
            assert same, f"the page says\n{block.body}but {done[-1]!r} wrote\n{output}"
            output = ""
    return done


@pytest.mark.slow
def test_steps_of_the_plugin_page(fresh) -> None:
    before = fresh.models()
    assert len(follow(fresh, TEXT)) == 15
    assert fresh.models() == before
    html = fresh.work / "docs" / "_build" / "html" / "models"
    assert {path.stem for path in html.glob("*.html")} == {"index", "tiny_net"}
    assert "24,346" in (html / "tiny_net.html").read_text(encoding="utf-8")


def test_files_quoted_by_the_page() -> None:
    written = render(PluginNames("tiny", "tiny", "tiny", "tiny_net", "TinyNet"))
    quoted = captioned_files(TEXT)
    assert len(quoted) == 6
    project = tomllib.loads(quoted.pop("pyproject.toml"))["project"]
    assert project.items() <= tomllib.loads(written["pyproject.toml"])["project"].items()
    assert project["dependencies"] == [core_requirement(lucid.__version__)]
    for path, part in quoted.items():
        assert part.strip() in written[path], path


@pytest.fixture
def forget_tiny() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "tiny"]:
        del sys.modules[name]


@pytest.mark.usefixtures("forget_tiny")
def test_weights_of_the_page_are_registered(tmp_path, monkeypatch) -> None:
    [weights] = [block.body for block in blocks(TEXT) if "lucid_register_weights" in block.body]
    models = captioned_files(TEXT)["src/tiny/plugin.py"]
    (tmp_path / "tiny").mkdir()
    code = f"from __future__ import annotations\n{weights}\n{models}"
    (tmp_path / "tiny" / "plugin.py").write_text(code)
    (tmp_path / "tiny" / "classes.py").write_text("DIGITS = list('0123456789')\n")
    info = tmp_path / "tiny-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[lucid.models]\ntiny = tiny.plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))

    entry = lucid.weights.catalog_entry("tiny_net")
    assert entry == lucid.weights.catalog_entry("tiny_net", "digits_v1")
    assert len(entry.sha256) == 64
    assert entry.filename == "tiny_net-digits-1f0c63ab.safetensors"
    assert entry.class_names == tuple("0123456789")


DETECTOR = (ROOT / "docs" / "detector_plugin.md").read_text(encoding="utf-8")


def test_detector_of_the_page_is_short_and_imports_public_names() -> None:
    names = PluginNames("lantern", "lantern", "lantern", "lantern_net", "LanternNet")
    written = render(names, "detector")
    quoted = [block for block in blocks(DETECTOR) if block.caption]
    assert len(quoted) == 5
    for block in quoted:
        assert block.body.strip("\n") in written[block.caption]
    network = written["src/lantern/network.py"]
    assert network.count("\n") < 150
    for node in ast.walk(ast.parse(network)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lucid"):
            public = importlib.import_module(str(node.module)).__all__
            assert {alias.name for alias in node.names} <= {*public, "functional"}, node.module


@pytest.mark.slow
def test_steps_of_the_detector_page(fresh) -> None:
    images, annotations = [], []
    (fresh.work / "images").mkdir()
    for i in range(6):
        pixels = np.full((48, 64, 3), 90, np.uint8)
        pixels[8:40, 8 + 4 * i : 40 + 4 * i] = (220, 60, 40)
        Image.fromarray(pixels).save(fresh.work / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
        annotations.append(
            {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [8 + 4 * i, 8, 32, 32],
             "area": 1024, "iscrowd": 0}
        )  # fmt: skip
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "square"}]
    (fresh.work / "train.json").write_text(json.dumps(content))
    assert len(follow(fresh, DETECTOR)) == 7
    with Image.open(fresh.work / "found.png") as found:
        assert found.size == (64, 48)


#: The examples in a builder's docstring, which doctest does not find behind a decorator.
RUN_DOCTEST = """
import doctest, inspect
from odd_shapes_2 import wee_shapes_3 as builder
for example in doctest.DocTestFinder().find(inspect.unwrap(builder), "builder", globs={}):
    assert doctest.DocTestRunner().run(example) == (0, 6)
"""


@pytest.mark.slow
def test_generated_plugin_of_any_name_passes(fresh) -> None:
    before = fresh.models()
    fresh.run("lucid new-plugin Odd.Shapes__2 --directory shapes --model wee_shapes_3")
    fresh.run("python -m pip install ./shapes")
    assert "all 13 checks passed" in fresh.run("lucid check-plugin odd-shapes-2")
    assert "15 passed" in fresh.run("python -m pytest -W error -q shapes")
    fresh.run("python -m sphinx -W -n -q shapes/docs shapes/docs/_build/html")
    assert (fresh.work / "shapes/docs/_build/html/models/wee_shapes_3.html").is_file()
    fresh.run(f"python -W error -c {shlex.quote(RUN_DOCTEST)}")
    again = fresh.run("lucid new-plugin odd_shapes.2", code=2)
    assert "'odd_shapes.2' is already installed (version 0.1.0)" in again
    fresh.run("python -m pip uninstall --yes Odd.Shapes--2")
    assert fresh.models() == before


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("backbone", 13), ("detector", 14)])
def test_generated_plugin_of_each_kind_passes(fresh, kind: str, count: int) -> None:
    before = fresh.models()
    fresh.run(f"lucid new-plugin fresh-{kind} --kind {kind} --directory {kind}")
    fresh.run(f"python -m pip install ./{kind}")
    assert f"all {count} checks passed" in fresh.run(f"lucid check-plugin fresh-{kind}")
    # The other tests of the project are the checks, which have been made.
    assert "2 passed" in fresh.run(f"python -m pytest -W error -q {kind}/tests/test_network.py")
    assert "1 examples ran" in fresh.run(f"python -W error {RUNNER} {kind}/README.md")
    fresh.run(f"python -m pip uninstall --yes fresh-{kind}")
    assert fresh.models() == before
