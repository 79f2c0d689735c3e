"""From the landing page to a drawn detection, in three commands copied from it."""

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
TEXT = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
[BLOCK] = re.findall(r"^```console\n(.*?)^```", TEXT, re.M | re.S)
INSTALL, TRAIN, DETECT = (shlex.split(line.removeprefix("$ ")) for line in BLOCK.splitlines())
FOUND = DETECT[DETECT.index("--output") + 1]

#: Scikit-learn as far as the program needs it, with printed digits for the scans.
SKLEARN = """
    import importlib.util

    spec = importlib.util.spec_from_file_location("digits", {conftest!r})
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


    def load_digits():
        return module.printed_digits(60)
"""


def test_what_is_installed_is_what_there_is():
    """The command itself needs a network; that these three install is what CI's sessions show."""
    assert INSTALL[:4] == ["python", "-m", "pip", "install"]
    *folders, other = INSTALL[4:]
    assert other == "scikit-learn"
    assert len(folders) == 3
    for folder in folders:
        path, _, extras = folder.partition("[")
        project = tomllib.loads((ROOT / path / "pyproject.toml").read_text())["project"]
        asked = {extra for extra in extras.rstrip("]").split(",") if extra}
        assert asked <= set(project.get("optional-dependencies", {}))


@pytest.mark.slow
def test_the_other_commands_end_in_a_picture(tmp_path):
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
    # Everything once, learning nothing, so that it takes seconds.
    run([str(ROOT / TRAIN[1])], *TRAIN[2:], "--quick")
    assert f"drawn: {FOUND}" in run(["-m", "lucid.cli"], *DETECT[1:])
    with Image.open(tmp_path / FOUND) as picture:
        assert picture.size == (512, 512)
