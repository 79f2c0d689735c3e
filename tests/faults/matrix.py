"""Parse the table of docs/reference/faults.md; as a program, print its tests that run here.

Those of ``tests/plugins`` need environments of their own, which ``nox -s plugins`` makes, and
those of ``tests/faults`` run whole.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "faults.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def rows() -> dict[str, list[tuple[str, str]]]:
    """Return file and name of each test, by fault."""
    table: dict[str, list[tuple[str, str]]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] != "fault":
            table[cells[0]] = TEST.findall(cells[2])
    return table


if __name__ == "__main__":
    found = {test for tests in rows().values() for test in tests}
    for file, name in sorted(found):
        if not file.startswith(("tests/plugins/", "tests/faults/")):
            print(f"{file}::{name}")
