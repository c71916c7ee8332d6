"""How many threads there are to use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from anyfm.core.errors import SettingError, got

MAX_THREADS = 1024
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def available_threads() -> int:
    """How many threads this process may run at once: its cores, or fewer if a cgroup limits its processor time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas())]))


def thread_count(n_threads: int) -> int:
    """The threads to start where `n_threads` are asked for: no more than can run at once; 0 means all of these.

    Raises
    ------
    SettingError
        `n_threads` is no integer from 0 to 1024.
    """
    if isinstance(n_threads, bool) or not isinstance(n_threads, int) or not 0 <= n_threads <= MAX_THREADS:
        raise SettingError(got(f"n_threads must be an integer from 0 to {MAX_THREADS}", n_threads=n_threads))
    return min(n_threads, _most_threads()) if n_threads else available_threads()


def _most_threads() -> int:
    return available_threads()


def _quotas() -> list[float]:
    """The processor time of each cgroup around this process, in cores, where it is limited."""
    groups = [_CGROUPS, _CGROUPS / "cpu"]
    try:
        for line in _OWN_CGROUP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            root = _CGROUPS / "cpu" if "cpu" in controllers.split(",") else _CGROUPS
            if controllers in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
                group = root / path.strip("/")
                groups += [group, *(parent for parent in group.parents if root in parent.parents)]
    except (OSError, ValueError):
        pass
    found = [_quota(group) for group in groups]
    return [quota for quota in found if quota is not None]


def _quota(group: Path) -> float | None:
    try:  # version 2: "max 100000" or "50000 100000"
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return cores if cores > 0 else None
