"""Chooses the build of the compiled kernels that this processor runs best.

``ANYFM_ISA`` (baseline, avx2 or avx512) forces one.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import anyfm._cpu as _cpu
from anyfm.core.errors import SettingError, got


def _choose() -> tuple[str, Any]:
    supported: list[str] = _cpu.supported()
    forced = os.environ.get("ANYFM_ISA")
    if forced and forced not in supported:
        raise SettingError(got(f"ANYFM_ISA must be one of {', '.join(supported)} on this processor", ANYFM_ISA=forced))
    for isa in [forced] if forced else supported:
        try:
            return isa, importlib.import_module(f"anyfm._native_{isa}")
        except ModuleNotFoundError:
            if forced:
                raise SettingError(got("ANYFM_ISA must name a build that is installed", ANYFM_ISA=forced)) from None
    raise ImportError("anyfm was installed without its compiled kernels")


isa, kernels = _choose()
