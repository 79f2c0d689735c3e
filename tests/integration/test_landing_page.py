"""The commands of the landing page that train and use the demo's detector run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").replace("\\\n", "")
[BLOCK] = [
    block
    for block in re.findall(r"^```console\n(.*?)^```", TEXT, re.M | re.S)
    if "digit_detector.py" in block
]
INSTALL, TRAIN, DETECT = (shlex.split(line.removeprefix("$ ")) for line in BLOCK.splitlines())
FOUND = DETECT[DETECT.index("--output") + 1]

#: A stub of scikit-learn with printed digits.
SKLEARN = """
    import importlib.util

    spec = importlib.util.spec_from_file_location("digits", {conftest!r})
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


    def load_digits():
        return module.printed_digits(60)
"""


def test_install_command_names_existing_folders_and_extras():
    """Installing needs a network; the CI sessions do it."""
    assert INSTALL[:4] == ["python", "-m", "pip", "install"]
    *folders, other = INSTALL[4:]
    assert other == "scikit-learn"
    assert len(folders) == 3
    for folder in folders:
        path, _, extras = folder.partition("[")
        project = tomllib.loads((ROOT / path / "pyproject.toml").read_text())["project"]
        requested = {extra for extra in extras.rstrip("]").split(",") if extra}
        assert requested <= set(project.get("optional-dependencies", {}))


@pytest.mark.slow
def test_demo_commands(tmp_path):
    stub = tmp_path / "stub" / "sklearn"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("")
    conftest = str(Path(__file__).with_name("conftest.py"))
    (stub / "datasets.py").write_text(textwrap.dedent(SKLEARN.format(conftest=conftest)))
    path = os.pathsep.join(filter(None, [str(stub.parent), os.environ.get("PYTHONPATH")]))

    def run(program: list[str], *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert TRAIN[0] == "python"
    assert DETECT[0] == "lucid"
    # --quick trains for seconds and learns nothing.
    run([str(ROOT / TRAIN[1])], *TRAIN[2:], "--quick")
    assert f"drawn: {FOUND}" in run(["-m", "lucid.cli"], *DETECT[1:])
    with Image.open(tmp_path / FOUND) as picture:
        assert picture.size == (512, 512)
