"""Processes forked from one in which polars had threads: a fork does not copy them, and polars waits for them forever.

In such a process tables in memory are scored without polars; all else is refused by name instead of hanging.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from anyfm.core.errors import ForkedProcessError

_TASKS = Path("/proc/self/task")
_THREAD = re.compile(r"polars-\d")
_parent_had_threads = False
_lost = False


def has_lost_polars() -> bool:
    """Whether this process was forked from one in which polars had threads."""
    return _lost


def check_polars(what: str) -> None:
    """Raise ForkedProcessError where `what` would wait for threads that do not exist."""
    if _lost:
        raise ForkedProcessError(
            f"{what} needs the threads of polars, which this process lost when it was forked. Start workers by spawn "
            'or forkserver (multiprocessing.set_start_method("spawn"); gunicorn without --preload), or do it before '
            "the fork. In this process predict takes rows and tables in memory"
        )


def _polars_has_threads() -> bool:
    if "polars" not in sys.modules:
        return False
    try:
        return any(_THREAD.match((task / "comm").read_text()) for task in _TASKS.iterdir())
    except OSError:  # no such list, or a thread has just ended
        return True


def _before() -> None:
    global _parent_had_threads
    _parent_had_threads = _polars_has_threads()


def _after_in_child() -> None:
    global _lost
    _lost = _lost or _parent_had_threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_after_in_child)
