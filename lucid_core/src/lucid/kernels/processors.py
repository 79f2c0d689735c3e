"""Processors that this process may use: its affinity, and the quota of its container.

Read when ``lucid`` is imported, so without pathlib, whose import takes longer than all of this.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

__all__ = ["available_processors", "processor_quota"]

_CGROUPS = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"

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


def _folders() -> Iterator[str]:
    """Folders of the process's groups, of version 2 and 1, up to the root of each hierarchy."""
    version_2, version_1 = _memberships()
    for mount in (_CGROUPS, os.path.join(_CGROUPS, "unified")):
        yield from _up(mount, version_2)
    for name in _VERSION_1_MOUNTS:
        yield from _up(os.path.join(_CGROUPS, name), version_1)


def _memberships() -> tuple[str, str]:
    """Paths of the process's groups in the hierarchies of version 2 and of version 1's cpu."""
    version_2 = version_1 = "/"
    try:
        lines = _text(_MEMBERSHIP).splitlines()
    except OSError:  # not Linux
        return version_2, version_1
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            version_2 = path
        elif "cpu" in controllers.split(","):
            version_1 = path
    return version_2, version_1


def _up(mount: str, group: str) -> Iterator[str]:
    # A container sees its own group as the root of the mount, but may be told the path that
    # the host knows: folders of that path that are not there hold no quota.
    parts = [part for part in group.split("/") if part not in ("", ".")]
    if ".." not in parts:
        yield from (os.path.join(mount, *parts[:n]) for n in range(len(parts), 0, -1))
    yield mount


def _text(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _quota_in(folder: str) -> float | None:
    try:
        quota, period = _text(folder, "cpu.max").split()
    except (OSError, ValueError):
        try:
            quota = _text(folder, "cpu.cfs_quota_us")
            period = _text(folder, "cpu.cfs_period_us")
        except OSError:
            return None
    try:
        share = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return share if 0 < share < math.inf else None  # -1 means no quota
