"""Rows from and to the text files of libsvm and libffm.

The grammar, for both formats::

    file    = line, newline, line, newline, …      the last newline may be absent; a byte order mark may stand in front
    newline = LF or CR LF
    line    = blanks                               no row: the line is skipped and counted
            | [blanks] label {blanks entry} [blanks]    a row; one without entries is legal
    blanks  = one or more spaces and tabs
    entry   = id ":" value                         libsvm
            | field ":" id ":" value               libffm
    id, field = decimal digits                     counted from 0, at most 2147483646
    label, value = [+|-] digits [. digits] [(e|E) [+|-] digits]    or with no digits on one side of the point

In libsvm files a "#" starts a comment that runs to the end of the line. There are no comments in libffm files.

Labels and values become the nearest float32; one too large for that is an error, one too small becomes 0. "nan", "inf"
and hexadecimal numbers are errors. Legal, and kept as they are: entries in any order, an id several times in a row,
several ids of one field in a row, values of 0, and in libffm files one id with several fields (the field belongs to
the entry; how many ids have several is counted).
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.atomic import replaced_file
from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.core.native import kernels
from anyfm.core.rows import MAX_FEATURES, Rows
from anyfm.core.threads import available_threads

_log = logging.getLogger(__name__)

FORMATS = ("libsvm", "libffm")
_SUFFIXES = {".svm": "libsvm", ".libsvm": "libsvm", ".svmlight": "libsvm", ".ffm": "libffm", ".libffm": "libffm"}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK_BYTES = 4 << 20
_ENTRIES_PER_WRITE = 1 << 20

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TextRows:
    """What `read_text` read.

    Parameters
    ----------
    rows : Rows
        With `y`. Of fixed width if every row has the same number of entries and, for libffm, the same fields in the
        same order; otherwise ragged. `values` is absent if all are 1. Rows of libsvm files are all of field 0.
    n_features, n_fields : int
        As given, or one more than the largest id and field; n_fields is 1 for libsvm.
    task : str
        "binary" (y holds 0 and 1) or "regression".
    negative_label : int
        For binary tasks, what the label of the negative class was in the file: 0, or -1, which became 0 in y.
    n_unseen : int
        Entries dropped because their id or field lies beyond n_features or n_fields.
    n_blank_lines : int
        Lines without a row: empty, or only a comment.
    n_shared_ids : int
        Ids that occur with more than one field (0 for libsvm).
    """

    rows: Rows
    n_features: int
    n_fields: int
    task: str
    negative_label: int
    n_unseen: int
    n_blank_lines: int
    n_shared_ids: int


def text_format(path: str | os.PathLike[str]) -> str | None:
    """The format that the suffix of `path` stands for (.svm, .libsvm, .svmlight; .ffm, .libffm), or None."""
    return _SUFFIXES.get(Path(path).suffix.lower())


def read_text(
    source: Source,
    *,
    format: str = "auto",
    n_features: int | None = None,
    n_fields: int | None = None,
    unseen: str = "refuse",
    task: str = "auto",
    n_threads: int = 0,
) -> TextRows:
    """Read libsvm or libffm text files; the grammar stands at the top of this module.

    Parameters
    ----------
    source : path, glob pattern, or list of paths
        Several files are read one after the other, those of a pattern in the order of their names.
    format : str
        "libsvm", "libffm", or "auto": by the suffix.
    n_features, n_fields : int, optional
        Ids must lie in 0 … n_features − 1, fields in 0 … n_fields − 1. Absent: what the file needs.
    unseen : str
        What becomes of entries beyond n_features and n_fields: "refuse" makes them an error, which is right for
        training; "drop" leaves them out of their rows and counts them, which is right for scoring with a model.
    task : str
        "binary" allows the labels 0 and 1, or -1 and 1; "regression" any number. "auto" is binary if the labels
        are those of one of the two pairs.
    n_threads : int
        0 means all cores of this process. The result does not depend on it.

    Raises
    ------
    InputError
        A file is missing, compressed or not of the format; the text names file, line, column (the character in the
        line), what was expected and what came.
    """
    _check_choice("unseen", unseen, ("refuse", "drop"))
    _check_choice("task", task, ("auto", "binary", "regression"))
    _check_range("n_features", n_features, 1, MAX_FEATURES)
    _check_range("n_fields", n_fields, 1, MAX_FEATURES)
    _check_range("n_threads", n_threads, 0, 1024)
    paths = _paths(source)
    format = source_format(paths, format)
    limits = _Limits(format, n_features, n_fields, task, drop_unseen=unseen == "drop")
    parser = kernels.TextParser.make(
        fields=format == "libffm",
        binary=task == "binary",
        drop_unseen=limits.drop_unseen,
        max_id=limits.max_id,
        max_field=limits.max_field,
        n_threads=n_threads or available_threads(),
    )
    for path in paths:
        try:
            _feed(parser, path, limits)
        except OSError as error:
            raise InputError(located(f"the file cannot be read: {error.strerror or error}", file=path)) from error
    found = parser.finish()
    task, negative_label = _task(task, found["labels"], paths)
    y = found["y"]
    if negative_label == -1:
        np.maximum(y, 0, out=y)
        _log.info("the labels -1 and 1 were read as 0 and 1")
    if found["n_dropped"]:
        _log.info("%d entries with unseen ids or fields were dropped", found["n_dropped"])
    return TextRows(
        rows=_rows(found, y, with_fields=format == "libffm"),
        n_features=n_features if n_features is not None else found["max_id"] + 1,
        n_fields=1 if format == "libsvm" else n_fields if n_fields is not None else found["max_field"] + 1,
        task=task,
        negative_label=negative_label,
        n_unseen=found["n_dropped"],
        n_blank_lines=found["n_blank_lines"],
        n_shared_ids=found["n_shared_ids"],
    )


def write_text(rows: Rows, path: str | os.PathLike[str], *, format: str = "auto") -> None:
    """Write rows as a libsvm or libffm text file, in one step: a crash leaves an earlier file there whole.

    `read_text` gives the same rows back, every value bit for bit (with ``task="regression"`` every target too), but
    for what the formats cannot say: rows without y get the label 0, and libsvm files hold no fields.

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
    format = source_format([path], format)
    if Path(path).suffix.lower() in (".gz", ".zst", ".bz2", ".xz", ".zip"):
        raise SettingError(got("text files are written without compression", path=path))
    _check_writable(rows, format)
    try:
        with replaced_file(Path(path)) as file:
            for block in _written(rows, with_fields=format == "libffm"):
                file.write(block)
    except OSError as error:
        raise InputError(located(f"the file cannot be written: {error.strerror or error}", file=path)) from error


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Limits:
    """What a parser was told to allow, to word its faults."""

    format: str
    n_features: int | None
    n_fields: int | None
    task: str
    drop_unseen: bool

    @property
    def max_id(self) -> int:
        return (MAX_FEATURES if self.n_features is None else self.n_features) - 1

    @property
    def max_field(self) -> int:
        return (MAX_FEATURES if self.n_fields is None else self.n_fields) - 1

    def expected(self, part: str) -> str:
        ends = "a blank or the end of the line"
        if part == "label":
            number = "0, 1 or -1" if self.task == "binary" else "a decimal number within the range of float32"
            return f"a label, {number}, and then {ends}"
        if part == "value":
            return f"a value, a decimal number within the range of float32, and then {ends}"
        name, limit = ("field", self.max_field) if part == "field" else ("feature id", self.max_id)
        return f"a {name} from 0 to {MAX_FEATURES - 1 if self.drop_unseen else limit} and then ':'"

    def remedy(self, part: str, came: bytes) -> str | None:
        if part == "label" and b":" in came:
            return "Every line starts with a label: put 0 there where it is not known."
        if part == "label" and self.task == "binary":
            return "For other numbers choose the task 'regression'."
        if self.format == "libffm" and part == "id" and b":" not in came:
            return "Entries of libffm are field:id:value. If this is a libsvm file, choose the format 'libsvm'."
        if self.format == "libsvm" and part == "value" and b":" in came:
            return "Entries of libsvm are id:value. If this is a libffm file, choose the format 'libffm'."
        if came.startswith(b"qid:"):
            return "Ranking groups (qid) are not supported: take them out."
        if part == "value":
            return "Leave entries whose value is missing out of the row."
        return None


def _feed(parser: Any, path: str, limits: _Limits) -> None:
    """Give a file to the parser, block by block, so that memory stays small and Ctrl-C works."""
    buffer = bytearray(_BLOCK_BYTES)
    view, block = memoryview(buffer), np.frombuffer(buffer, np.uint8)
    with open(path, "rb", buffering=0) as file:
        first = True
        while (n := file.readinto(view)) or first:
            start = 0
            if first:
                _refuse_compressed(bytes(view[: min(n or 0, 8)]), path)
                start = len(_BYTE_ORDER_MARK) if n and buffer.startswith(_BYTE_ORDER_MARK) else 0
                first = False
            _refuse(parser.feed(block[start:n]), path, limits)
    _refuse(parser.end_file(), path, limits)


def _refuse_compressed(start: bytes, path: str) -> None:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise InputError(located(f"the file is compressed ({name})", file=path, remedy="Decompress it first."))


def _refuse(fault: tuple[str, int, int, bytes] | None, path: str, limits: _Limits) -> None:
    if fault is None:
        return
    part, line, column, came = fault
    text = came.decode("utf-8", "backslashreplace")
    raise InputError(
        located(
            f"expected {limits.expected(part)}" + ("" if text else ", but the line ends"),
            file=path,
            line=line,
            column=column,
            value=text or None,
            remedy=limits.remedy(part, came),
        )
    )


def _task(task: str, labels: list[tuple[int, int, float] | None], paths: list[str]) -> tuple[str, int]:
    """The task, and the label of the negative class, from where 0, -1 and other labels than 1 were first seen."""
    zero, minus_one, other = labels
    if task == "regression" or (task == "auto" and other is not None):
        return "regression", 0
    if zero is not None and minus_one is not None:
        file, line, value = max(zero, minus_one)
        raise InputError(
            located(
                "labels must be 0 and 1, or -1 and 1, but 0 and -1 both occur",
                file=paths[file],
                line=line,
                value=int(value),
                remedy="If they are numbers to predict, choose the task 'regression'.",
            )
        )
    return "binary", -1 if minus_one is not None else 0


def _rows(found: dict[str, Any], y: NDArray[np.float32], *, with_fields: bool) -> Rows:
    ids, values, fields = found["ids"], found["values"], found["fields"]
    n_slots = found["n_slots"]
    if not n_slots:  # ragged, or without any entry
        if with_fields and fields is None:
            fields = np.zeros(len(ids), np.int32)
        return Rows(ids=ids, offsets=found["offsets"], values=values, fields=fields, y=y)
    pattern = np.array(found["pattern"], np.int32)
    return Rows(
        ids=ids.reshape(-1, n_slots),
        values=None if values is None else values.reshape(-1, n_slots),
        fields=None if with_fields and bool((pattern == np.arange(n_slots)).all()) else pattern,
        y=y,
    )


def _paths(source: Source) -> list[str]:
    if not isinstance(source, (str, os.PathLike)):
        paths = [os.fspath(path) for path in source]
        if not paths:
            raise InputError("there must be at least one file to read, got source=[]")
        return paths
    path = os.fspath(source)
    if os.path.exists(path) or not glob.has_magic(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise InputError(located("no file has a name of this pattern", file=path))
    return found


def source_format(source: Source, format: str = "auto") -> str:
    """The format of text files: as given, or, for "auto", what the suffix of all of them stands for."""
    if format != "auto":
        _check_choice("format", format, FORMATS)
        return format
    paths = _paths(source)
    formats = {text_format(path) for path in paths}
    found = formats.pop()
    if found is None or formats:
        suffixes = ", ".join(_SUFFIXES)
        raise SettingError(
            got(f"format must be libsvm or libffm where the suffix is none of {suffixes}", path=paths[0])
        )
    return found


def _check_choice(name: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise SettingError(got(f"{name} must be one of {', '.join(options)}", **{name: value}))


def _check_range(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise SettingError(got(f"{name} must be an integer from {low} to {high}", **{name: value}))


# --- writing ------------------------------------------------------------------------------------------------------


def _written(rows: Rows, *, with_fields: bool) -> Iterator[bytes]:
    step = max(1, _ENTRIES_PER_WRITE * rows.n_rows // max(rows.n_entries, rows.n_rows, 1))
    for first in range(0, rows.n_rows, step):
        yield kernels.write_text(
            rows.ids.reshape(-1),
            rows.n_rows,
            rows.offsets,
            None if rows.values is None else rows.values.reshape(-1),
            rows.fields,
            rows.y,
            first=first,
            last=min(first + step, rows.n_rows),
            with_fields=with_fields,
        )


def _check_writable(rows: Rows, format: str) -> None:
    if rows.weight is not None:
        raise SettingError("libsvm and libffm files cannot hold row weights: write rows without them")
    if format == "libffm" and rows.is_ragged and rows.fields is None:
        raise SettingError("libffm files need the field of each entry, got fields=None")
    for name, array in (("ids", rows.ids), ("fields", rows.fields)):
        if array is not None and array.size and not 0 <= int(array.min()) <= int(array.max()) < MAX_FEATURES:
            came = {"min": int(array.min()), "max": int(array.max())}
            raise InputError(got(f"{name} must lie in 0 … {MAX_FEATURES - 1} to be written", **came))
    for name, numbers in (("values", rows.values), ("y", rows.y)):
        if numbers is not None and not np.isfinite(numbers).all():
            raise InputError(f"{name} must be finite numbers to be written, but there are nan or inf among them")
