"""What the native engine does differently for field-aware factors: their memory, their start and their penalties."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.core.native import kernels
from anyfm.core.rows import Rows
from anyfm.engines.recipe import PriorGuess, Recipe
from anyfm.models import BaseModel

_log = logging.getLogger(__name__)
_NO_PENALTY = 1e-30  # for libffm's rule, whose kernel takes 0 for "no partner in the row" (field_step.hpp)
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that this process may still take, None where the system does not say."""
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


def table_bytes(model: BaseModel, *, n_features: int, n_fields: int, training: bool) -> int:
    """Bytes of the table of all features."""
    floats: int = kernels.ffm_floats(
        n_fields=n_fields,
        n_factors=model.settings.n_factors,
        coordinates=model.settings.optimizer == "libffm",
        training=training,
    )
    return n_features * floats * 4


def needed_bytes(model: BaseModel, *, n_features: int, n_fields: int, training: bool) -> int:
    """Bytes that scoring or training takes at most.

    Training keeps a copy of its best epoch, and for a moment that of the one before.
    """
    table = table_bytes(model, n_features=n_features, n_fields=n_fields, training=training)
    return 3 * table if training else table


def memory_text(model: BaseModel, *, n_features: int, n_fields: int, training: bool) -> str:
    """The same in words: sizes of the model, and gigabytes."""
    needed = needed_bytes(model, n_features=n_features, n_fields=n_fields, training=training)
    features = f"{n_features / 1e6:.3g} M" if n_features >= 1e6 else f"{n_features:,}"
    memory = f"{needed / 1e9:.2g} GB" if needed >= 1e8 else f"{needed / 1e6:.2g} MB"
    copies = ", two thirds of it for copies of the best epoch" if training else ""
    return f"FFM: {features} features × {n_fields} fields × {model.settings.n_factors} factors: {memory}{copies}"


def make(model: BaseModel, *, n_features: int, n_fields: int, training: bool, n_threads: int) -> Any:
    """The kernel of `model`; SettingError if its tables do not fit the memory that is free."""
    config = model.settings
    needed = needed_bytes(model, n_features=n_features, n_fields=n_fields, training=training)
    available = available_memory()
    _log.info("%s", memory_text(model, n_features=n_features, n_fields=n_fields, training=training))
    if available is not None and needed > available:
        raise SettingError(
            got(
                "the factors of all features must fit the free memory (fold rare values by a larger min_count, or take"
                " fewer n_factors)",
                needed_bytes=needed,
                available_bytes=available,
                n_features=n_features,
                n_fields=n_fields,
                n_factors=config.n_factors,
            )
        )
    return kernels.ffm(
        n_features,
        n_fields=n_fields,
        n_factors=config.n_factors,
        normalize=config.normalize,
        linear=config.linear,
        coordinates=config.optimizer == "libffm",
        training=training,
        n_threads=n_threads,
    )


def check_fields(rows: Rows, n_fields: int) -> None:
    """Raise SettingError if fields are not stated, InputError for the first outside 0 … n_fields − 1."""
    if rows.fields is None and rows.offsets is not None:
        raise SettingError(got("ragged rows of a field-aware model must state a field per entry", fields=None))
    stated = np.arange(rows.ids.shape[1]) if rows.fields is None else rows.fields
    wrong = np.flatnonzero((stated < 0) | (stated >= n_fields))
    if len(wrong) > 0:
        first = int(wrong[0])
        row = None if rows.offsets is None else int(np.searchsorted(rows.offsets, first, side="right"))
        problem = f"a field must lie in 0 … {n_fields - 1}"
        raise InputError(located(problem, row=row, value=int(stated[first])))


def prior_guess(made: Recipe) -> PriorGuess:
    """The precision of a factor before the data speak: it grows with the root of FM's, since a pair has factors of
    its own."""
    start = 8 * float(np.sqrt(made.factor_prior(8).start / 8))
    return PriorGuess(start=start, hyper=start, lowest=start / 30, highest=start * 10)


def _deviation(model: BaseModel, made: Recipe) -> float:
    """The standard deviation of the factors at their start."""
    config = model.settings
    return float(config.init_scale * (8 / config.n_factors) ** 0.25 / np.sqrt(prior_guess(made).start))


def accumulator_start(model: BaseModel) -> float:
    """Where the sums of squared gradients of the factors start."""
    return 1.0 if model.settings.optimizer == "libffm" else 0.1


def _one_of_each(train: Rows) -> bool:
    """Whether no row can hold two features of one field."""
    return train.offsets is None and (train.fields is None or len(np.unique(train.fields)) == len(train.fields))


def draw_start(native: Any, model: BaseModel, made: Recipe, train: Rows, *, seed: int) -> None:
    """Draw the factors evenly: around 0 with standard deviation init / √λ, or libffm's U(0, 1) / √n_factors.

    What no pair of the training rows uses starts at zero: a feature without an entry (except under libffm's rule), and
    the vector of a feature toward its own field where rows hold one feature of each field.
    """
    config = model.settings
    libffm = config.optimizer == "libffm"
    width = float(1 / np.sqrt(config.n_factors) if libffm else np.sqrt(12) * _deviation(model, made))
    native.start(
        seed=seed,
        low=0.0 if libffm else -width / 2,
        width=width,
        accumulator=accumulator_start(model),
        drawn=np.ones(len(made.counts), bool) if libffm else made.counts > 0,
        field_of=made.field_of,
        without_own=_one_of_each(train),
    )


def start_precision(model: BaseModel, made: Recipe, *, n_fields: int) -> list[float]:
    """The precision of each pair of fields, row by row, before the first epoch."""
    fixed = model.settings.l2_factors
    if fixed is not None and model.settings.optimizer == "libffm":
        fixed = max(fixed, _NO_PENALTY)
    return [prior_guess(made).start if fixed is None else fixed] * n_fields**2


def set_penalties(
    native: Any,
    model: BaseModel,
    made: Recipe,
    precision: list[float],
    *,
    estimate: bool,
    noise: float,
    epochs: int,
) -> list[float]:
    """Hand the penalties to the kernel, estimated anew if asked for; gives the precisions used."""
    guess = prior_guess(made)
    used: list[float] = native.field_penalties(
        field_of=made.field_of,
        precision=precision,
        estimate=estimate and model.settings.l2_factors is None,
        guess=guess.hyper,
        strength=guess.strength,
        bounds=(guess.lowest, guess.highest),
        noise=noise,
        start=accumulator_start(model),
        epochs=epochs,
    )
    return used
