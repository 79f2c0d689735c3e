"""Processor quotas of containers, in cgroups of versions 1 and 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lucid.kernels import processors


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty cgroup file system that contains the process."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    monkeypatch.setattr(processors, "_CGROUPS", folder)
    monkeypatch.setattr(processors, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return folder


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.mark.parametrize(
    ("text", "quota", "processors_used"),
    [
        ("100000 100000", 1, 1),
        ("150000 100000", 1.5, 2),
        ("20000 100000", 0.2, 1),
        ("1600000 100000", 16, 8),
        ("max 100000", None, 8),
        ("", None, 8),
        ("100000 0", None, 8),
        ("nan 100000", None, 8),
    ],
)
def test_version_2(groups: Path, text: str, quota: float | None, processors_used: int) -> None:
    write(groups, cpu__max=text)
    assert processors.processor_quota() == quota
    assert processors.available_processors() == processors_used


@pytest.mark.parametrize("name", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("microseconds", "quota"), [("250000", 2.5), ("-1", None), ("x", None)])
def test_version_1(groups: Path, name: str, microseconds: str, quota: float | None) -> None:
    write(groups / name, cpu__cfs_quota_us=microseconds, cpu__cfs_period_us="100000")
    assert processors.processor_quota() == quota


@pytest.mark.parametrize(
    ("membership", "folder"),
    [
        ("0::/pod/box\n", "."),
        ("0::/pod/box\n", "pod"),
        ("0::/pod/box\n", "pod/box"),
        ("0::/pod/box\n", "unified/pod"),
        ("5:cpu,cpuacct:/pod/box\n0::/\n", "cpu,cpuacct/pod"),
        ("0::/../..\n", "."),
        ("0::/not/seen/from/here\n", "."),
    ],
)
def test_ancestor_groups_count(groups: Path, membership: str, folder: str) -> None:
    processors._MEMBERSHIP.write_text(membership)
    write(groups / "pod" / "box", cpu__max="700000 100000")
    write(groups / folder, cpu__max="300000 100000")
    write(groups / "stranger", cpu__max="100000 100000")
    assert processors.available_processors() == 3


def test_smallest_quota_counts(groups: Path) -> None:
    processors._MEMBERSHIP.write_text("0::/a/b\n")
    write(groups / "a", cpu__max="200000 100000")
    write(groups / "a" / "b", cpu__max="400000 100000")
    assert processors.available_processors() == 2


def test_affinity_counts(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    write(groups, cpu__max="400000 100000")
    assert processors.available_processors() == 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors.available_processors() == 1
