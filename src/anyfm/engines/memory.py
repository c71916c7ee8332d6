"""How much memory the native tables of a model take, known before any is allocated."""

from __future__ import annotations

import logging
from pathlib import Path

from anyfm.core.errors import SettingError, got
from anyfm.core.native import kernels
from anyfm.models import BaseModel

_log = logging.getLogger(__name__)
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that this process may still allocate, None where the system does not say."""
    limits = []
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    try:
        most, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        if most != "max":
            limits.append(max(0, int(most) - int(used)))
    except OSError:
        pass
    return min(limits) if limits else None


def needed_memory(model: BaseModel, *, n_features: int, n_fields: int, training: bool) -> int:
    """Bytes that scoring or training takes at most.

    Training keeps a copy of its best epoch, and for a moment that of the one before.
    """
    floats: int = kernels.record_floats(model.kernel, n_fields, model.kernel_options(), training)
    return 4 * n_features * floats * (3 if training else 1)


def memory_text(model: BaseModel, *, n_features: int, n_fields: int, training: bool) -> str:
    """The same as text: what the model's size is, and its memory."""
    needed = needed_memory(model, n_features=n_features, n_fields=n_fields, training=training)
    features = f"{n_features / 1e6:.3g} M" if n_features >= 1e6 else f"{n_features:,}"
    memory = f"{needed / 1e9:.2g} GB" if needed >= 1e8 else f"{needed / 1e6:.2g} MB"
    copies = ", two thirds of it for copies of the best epoch" if training else ""
    per_feature = model.n_parameters(1, n_fields) - sum(spec.size for spec in model.dense_specs(n_fields).values()) - 1
    return f"{features} features × {per_feature} parameters: {memory}{copies}"


class MemoryLimitError(SettingError):
    """The tables of a model do not fit the free memory."""


def check_memory(model: BaseModel, *, n_features: int, n_fields: int, training: bool) -> None:
    """Raise MemoryLimitError if the tables do not fit the free memory."""
    sizes = {"n_features": n_features, "n_fields": n_fields}
    needed, available = needed_memory(model, **sizes, training=training), available_memory()
    _log.info("%s: %s", model.name, memory_text(model, **sizes, training=training))
    if available is not None and needed > available:
        raise MemoryLimitError(
            got(
                "the parameters of all features must fit the free memory (share rare values by a larger min_count, or"
                " use fewer n_factors)",
                needed_bytes=needed,
                available_bytes=available,
                **sizes,
                **{name: value for name, value in model.settings.to_dict().items() if name == "n_factors"},
            )
        )
