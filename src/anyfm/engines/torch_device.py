"""Where torch computes, and on how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from anyfm.core.errors import SettingError, got


def usable(device: str) -> torch.device:
    """The device, tried; SettingError if torch cannot use it."""
    try:
        made = torch.device(device)
        torch.zeros(1, device=made)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(got("device must be one that torch can use here", device=device, reason=reason)) from None
    return made


@contextmanager
def threads_of_torch(n: int) -> Iterator[None]:
    """torch's own threads, `n` of them inside the block and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
