"""A plugin begun by ``lucid new-plugin``, taken through its life without editing anything."""

from __future__ import annotations

import sys
from pathlib import Path


def test_from_nothing_to_a_checked_plugin_and_back(site, tmp_path: Path) -> None:
    site.install("lucid-core", "toy-good")
    site.installed.lucid("new-plugin", "tiny", cwd=tmp_path)
    site.installed.pip("install", "--quiet", "./tiny", cwd=tmp_path)
    try:
        listed = site.installed.lucid("models", "tiny*").stdout.splitlines()
        assert len(listed) >= 2  # the heading, and what the new plugin adds
        assert all(line.endswith(" tiny") for line in listed[1:])
        site.installed.lucid("check-plugin", "tiny")
        site.installed.run(sys.executable, "-m", "pytest", "-q", cwd=tmp_path / "tiny")
    finally:
        site.remove("tiny")
    assert site.models() == {"toy-good": ["toy_good"]}
