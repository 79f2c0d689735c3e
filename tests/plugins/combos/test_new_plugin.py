"""Install, check and remove a project of ``lucid new-plugin`` without editing it."""

from __future__ import annotations

import sys
from pathlib import Path


def test_new_plugin_installs_passes_checks_and_uninstalls(site, tmp_path: Path) -> None:
    site.install("lucid-core", "toy-good")
    site.installed.lucid("new-plugin", "tiny", cwd=tmp_path)
    site.installed.pip("install", "--quiet", "./tiny", cwd=tmp_path)
    try:
        listed = site.installed.lucid("models", "tiny*").stdout.splitlines()
        assert len(listed) >= 2  # header and models
        assert all(line.endswith(" tiny") for line in listed[1:])
        site.installed.lucid("check-plugin", "tiny")
        site.installed.run(sys.executable, "-m", "pytest", "-q", cwd=tmp_path / "tiny")
    finally:
        site.remove("tiny")
    assert site.models() == {"toy-good": ["toy_good"]}
