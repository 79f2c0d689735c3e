"""Installation commands of the README and the site: from an index, the source tree, wheels."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CORE, CLASSIFICATION, DETECTION = OURS = (
    "lucid-core",
    "lucid-models-classification",
    "lucid-models-detection",
)
PAGES = (
    "README.md",
    "docs/install.md",
    "docs/index.md",
    *(f"{distribution.replace('-', '_')}/README.md" for distribution in OURS),
)
#: A console block.
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[list[str]]:
    """Return the pip commands of each console block that installs Lucid."""
    text = (ROOT / page).read_text().replace("\\\n", "")
    found = [block.splitlines() for block in BLOCK.findall(text)]
    commands = [
        [line.removeprefix("$ ").partition(" #")[0].strip() for line in block] for block in found
    ]
    pip = [[command for command in block if " pip " in command] for block in commands]
    return [block for block in pip if any("lucid" in command for command in block)]


def from_index(command: str) -> bool:
    return re.search(r"pip install [\"']?lucid-", command) is not None


def cases(index: bool) -> list[tuple[str, tuple[str, ...]]]:
    """Return pages and commands: single commands from an index, or blocks from source."""
    found: dict[tuple[str, ...], str] = {}
    for page in PAGES:
        for block in blocks(page):
            if not any("pip" in command and not from_index(command) for command in block):
                for command in filter(from_index, block):
                    if index:
                        found.setdefault((command,), page)
            elif not index:
                found.setdefault(tuple(block), page)
    return [(page, commands) for commands, page in found.items()]


@pytest.fixture
def local_index(tmp_path: Path, wheelhouse: Path) -> dict[str, str]:
    """Environment variables that make pip use only a local index (PEP 503)."""
    root = tmp_path / "simple"
    for wheel in wheelhouse.glob("lucid_*.whl"):
        folder = root / wheel.name.partition("-")[0].replace("_", "-")
        folder.mkdir(parents=True)
        shutil.copy(wheel, folder)
        (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return {
        "PIP_INDEX_URL": root.as_uri(),
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
    }


def expected(commands: tuple[str, ...]) -> list[str]:
    """Return the plugins installed by commands."""
    text = " ".join(commands).replace("_", "-")
    if DETECTION in text or "*.whl" in text:
        return [CLASSIFICATION, DETECTION]
    return [CLASSIFICATION] if CLASSIFICATION in text else []


def run(site, commands: tuple[str, ...], **options) -> None:
    for command in commands:
        site.installed.run("bash", "-c", command, **options)


def test_pages_show_all_ways_to_install() -> None:
    assert {commands[0].split()[-1] for _, commands in cases(index=True)} >= set(OURS)
    ways = [" ".join(commands) for _, commands in cases(index=False)]
    assert any("pip install ./lucid_core" in way for way in ways)
    assert any("pip wheel" in way and "dist/*.whl" in way for way in ways)


@pytest.mark.parametrize(("page", "commands"), cases(index=True))
def test_install_from_index(site, local_index, page: str, commands: tuple[str, ...]) -> None:
    run(site, commands, env=local_index)
    assert list(site.models()) == expected(commands)
    site.installed.pip("check")


@pytest.mark.parametrize(("page", "commands"), cases(index=False))
def test_install_from_source_tree(
    site, tmp_path: Path, page: str, commands: tuple[str, ...]
) -> None:
    clone = tmp_path / "lucid"
    for distribution in OURS:
        folder = distribution.replace("-", "_")
        shutil.copytree(
            ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__", "dist")
        )
    run(site, commands, cwd=clone)
    assert list(site.models()) == expected(commands)
    site.installed.pip("check")
