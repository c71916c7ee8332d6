"""Writes rows as the text files of libsvm and libffm; `anyfm.data.text.reader` has the grammar."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from anyfm.core.atomic import replaced_file
from anyfm.core.errors import InputError, SettingError, got
from anyfm.core.native import kernels
from anyfm.core.rows import MAX_FEATURES, Rows
from anyfm.data.messages import input_error
from anyfm.data.text.reader import check_digits, source_format

_ENTRIES_PER_WRITE = 1 << 20


def write_text(rows: Rows, path: str | os.PathLike[str], *, format: str = "auto") -> None:
    """Write rows as a libsvm or libffm text file. It is replaced as a whole, or on failure not at all.

    `read_text` gives the same rows back, every value bit for bit (with ``task="regression"`` every target too), except
    for what the formats cannot hold: rows without y get the label 0, and libsvm files hold no fields.

    Parameters
    ----------
    format : str
        "libsvm", "libffm", or "auto": by the suffix of `path`.

    Raises
    ------
    SettingError
        The rows have weights, which the formats cannot hold, or lack the fields that libffm needs.
    InputError
        An id, field, value or target cannot be written, or the file cannot.
    """
    path = os.fspath(path)
    with_fields = source_format(path, format) == "libffm"
    if Path(path).suffix.lower() in (".gz", ".zst", ".bz2", ".xz", ".zip"):
        raise SettingError(got("text files are written without compression", path=path))
    _check_writable(rows, with_fields=with_fields)
    try:
        with replaced_file(Path(path)) as file:
            file.writelines(_blocks(rows, with_fields=with_fields))
    except OSError as error:
        raise input_error(f"the file cannot be written: {error.strerror or error}", file=path) from error


def _blocks(rows: Rows, *, with_fields: bool) -> Iterator[bytes]:
    """The lines of the file, about `_ENTRIES_PER_WRITE` entries at a time."""
    n_rows = max(1, _ENTRIES_PER_WRITE * rows.n_rows // max(rows.n_entries, rows.n_rows, 1))
    for first in range(0, rows.n_rows, n_rows):
        yield kernels.write_text(
            rows.ids.reshape(-1),
            rows.n_rows,
            rows.offsets,
            None if rows.values is None else rows.values.reshape(-1),
            rows.fields,
            None if rows.y is None else rows.y.astype(np.float32, copy=False),
            first=first,
            last=min(first + n_rows, rows.n_rows),
            with_fields=with_fields,
        )


def _check_writable(rows: Rows, *, with_fields: bool) -> None:
    if rows.weight is not None:
        raise SettingError("libsvm and libffm files cannot hold row weights: write rows without them")
    if with_fields and rows.is_ragged and rows.fields is None:
        raise SettingError("libffm files need the field of each entry, got fields=None")
    for name, array in (("ids", rows.ids), ("fields", rows.fields)):
        if array is not None and array.size and not 0 <= int(array.min()) <= int(array.max()) < MAX_FEATURES:
            rule = f"{name} must lie in 0 … {MAX_FEATURES - 1} to be written"
            raise InputError(got(rule, min=int(array.min()), max=int(array.max())))
    for name, numbers in (("values", rows.values), ("y", rows.y)):
        if numbers is not None and not np.isfinite(numbers).all():
            raise InputError(f"{name} must be finite numbers to be written, but there are nan or inf among them")
    if rows.y is not None and rows.y.dtype == np.float64:
        check_digits(rows.y)
