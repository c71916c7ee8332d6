"""The compiled kernels: making one for a model, and rows and logits in and out of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyfm.core.errors import InputError, got
from anyfm.core.native import kernels
from anyfm.core.rows import Floats, Rows
from anyfm.engines.memory import check_memory
from anyfm.models import BaseModel

_THREADED_ROWS = 4096  # fewer rows are scored on the calling thread: waking the others would cost more


def make(model: BaseModel, *, n_features: int, n_fields: int, training: bool, n_threads: int) -> Any:
    """The kernel of `model`; SettingError if its tables do not fit the free memory."""
    check_memory(model, n_features=n_features, n_fields=n_fields, training=training)
    return kernels.make_model(model.kernel, n_features, n_fields, model.kernel_options(), training, n_threads)


def bind(rows: Rows, *, n_features: int, n_owners: int, n_fields: int) -> Any:
    """Check `rows` once and pass their arrays to the kernels."""
    try:
        return kernels.BoundRows.make(
            rows.ids.reshape(-1),
            rows.n_rows,
            rows.offsets,
            rows.values if rows.values is None else rows.values.reshape(-1),
            rows.fields,
            rows.y,
            rows.weight,
            n_features=n_features,
            n_owners=n_owners,
            n_fields=n_fields,
        )
    except IndexError:
        rows.check_bounds(n_features)
        raise
    except ValueError as error:  # fields: out of bounds, or not stated
        if n_fields > 0:
            rows.check_fields(n_fields)
        raise InputError(got(f"the rows do not fit the model's {n_fields} fields", reason=str(error))) from None


def logits(native: Any, rows: Rows, n_features: int) -> Floats:
    """The logit of every row, float32 of shape (n_rows,)."""
    out = np.empty(rows.n_rows, np.float32)
    bound = bind(rows.unlabelled(), n_features=n_features, n_owners=1, n_fields=native.n_fields)
    native.logits(bound, out, threaded=rows.n_rows >= _THREADED_ROWS)
    return out
