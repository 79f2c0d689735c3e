"""Number of processors available to this process: its affinity and its container's quota.

Imported with ``lucid``, so without pathlib, whose import takes longer than all of this.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

__all__ = ["available_processors", "processor_quota"]

_CGROUPS = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"

#: Mount points of the cpu controller of cgroup version 1.
_VERSION_1_MOUNTS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def available_processors() -> int:
    """Return the number of processors that this process can use.

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
    """Return the processor time per second of wall time that this process's cgroups allow.

    Returns
    -------
    float or None
        The smallest quota of the cgroup and its ancestors in processors, such as 1.5; None
        without a quota.
    """
    quotas = [quota for folder in _folders() if (quota := _quota_in(folder)) is not None]
    return min(quotas, default=None)


def _folders() -> Iterator[str]:
    """Yield the folders of the process's cgroups (versions 2 and 1) up to each root."""
    version_2, version_1 = _memberships()
    for mount in (_CGROUPS, os.path.join(_CGROUPS, "unified")):
        yield from _up(mount, version_2)
    for name in _VERSION_1_MOUNTS:
        yield from _up(os.path.join(_CGROUPS, name), version_1)


def _memberships() -> tuple[str, str]:
    """Return the cgroup paths of the process in version 2 and in version 1's cpu hierarchy."""
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
    # A container sees its own cgroup as the root of the mount, but the path may be the host's:
    # folders of that path that do not exist hold no quota.
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
        processors = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return processors if 0 < processors < math.inf else None  # -1 means no quota
