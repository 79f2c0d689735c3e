"""Processors that this process may use: its affinity, and the quota of its container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["available_processors", "processor_quota"]

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")

#: Where the cpu controller of version 1 is mounted, alone or together with its companion.
_VERSION_1_MOUNTS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def available_processors() -> int:
    """Number of processors that this process can keep busy.

    Returns
    -------
    int
        At least 1: the processors in the affinity mask (which ``cpuset`` limits too), or
        the processor quota, rounded up, if that is smaller.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    quota = processor_quota()
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def processor_quota() -> float | None:
    """Processor time per second of wall time that the control groups of this process allow.

    Returns
    -------
    float or None
        The smallest quota of the process's group and the groups above it, in processors,
        such as 1.5; None without a quota.
    """
    quotas = [quota for folder in _folders() if (quota := _quota_in(folder)) is not None]
    return min(quotas, default=None)


def _folders() -> Iterator[Path]:
    """Folders of the process's groups, of version 2 and 1, up to the root of each hierarchy."""
    version_2, version_1 = _memberships()
    for mount in (_CGROUPS, _CGROUPS / "unified"):
        yield from _up(mount, version_2)
    for name in _VERSION_1_MOUNTS:
        yield from _up(_CGROUPS / name, version_1)


def _memberships() -> tuple[str, str]:
    """Paths of the process's groups in the hierarchies of version 2 and of version 1's cpu."""
    version_2 = version_1 = "/"
    try:
        lines = _MEMBERSHIP.read_text(errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return version_2, version_1
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            version_2 = path
        elif "cpu" in controllers.split(","):
            version_1 = path
    return version_2, version_1


def _up(mount: Path, group: str) -> Iterator[Path]:
    # A container sees its own group as the root of the mount, but may be told the path that
    # the host knows: folders of that path that are not there hold no quota.
    inner = PurePosixPath("/", group).relative_to("/")
    if ".." not in inner.parts:
        yield from (mount / folder for folder in (inner, *inner.parents) if folder.parts)
    yield mount


def _quota_in(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        share = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return share if 0 < share < math.inf else None  # -1 means no quota
