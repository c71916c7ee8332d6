"""Reads rows from the text files of libsvm and libffm.

The grammar, for both formats::

    file    = line, newline, line, newline, …      the last newline may be absent; a byte order mark may come first
    newline = LF or CR LF
    line    = blanks                               no row: the line is skipped and counted
            | [blanks] label {blanks entry} [blanks]    a row; one without entries is legal
    blanks  = one or more spaces and tabs
    entry   = id ":" value                         libsvm
            | field ":" id ":" value               libffm
    id, field = decimal digits                     counted from 0; ids are below 2^64, fields at most 2147483646
    label, value = [+|-] digits [. digits] [(e|E) [+|-] digits]    or with no digits on one side of the point

In libsvm files "qid:" and digits may follow the label: the group of the row. A "#" starts a comment that runs to the
end of the line. There are no comments in libffm files.

Labels and values become the nearest float32; one too large for that is an error, one too small becomes 0. "nan", "inf"
and hexadecimal numbers are errors. Legal, and preserved: entries in any order, an id several times in a row, several
ids of one field in a row, values of 0, and in libffm files one id with several fields (the field belongs to the
entry; the ids that have several are counted).
"""

from __future__ import annotations

import codecs
import glob
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import InputError, SettingError, got
from anyfm.core.native import kernels
from anyfm.core.rows import MAX_FEATURES, Rows, Targets
from anyfm.core.settings import integer
from anyfm.core.task import TASKS, get_task
from anyfm.core.threads import thread_count
from anyfm.data.files import find_paths
from anyfm.data.messages import check_choice, input_error
from anyfm.data.text.renumber import FeatureIds, Renumbered, is_sparse, with_numbers

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
_BLOCK_BYTES = 4 << 20
_MAX_ROUNDING = 1e-2  # of the deviation of the labels

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TextRows:
    """The result of `read_text`.

    Parameters
    ----------
    rows : Rows
        With `y`. Of fixed width if every row has the same number of entries and, for libffm, the same fields in the
        same order; otherwise ragged. `values` is absent if all are 1. Rows of libsvm files are all of field 0.
    n_features, n_fields : int
        As given, or one more than the largest id and field; n_fields is 1 for libsvm.
    task : str
        "binary" (y holds 0 and 1) or "regression".
    label_reason : str
        Why it is this task.
    negative_label, positive_label : number
        For binary tasks, the labels of the two classes in the file, such as 0 and 1, -1 and 1, or 1 and 2.
    feature_ids : uint64 array of shape (n_features,), optional
        The ids of the file, ascending, where the ids of `rows` are their numbers instead.
    group : int64 array of shape (n_rows,), optional
        The ``qid`` of each row.
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
    negative_label: float
    n_unseen: int
    n_blank_lines: int
    n_shared_ids: int
    positive_label: float = 1
    label_reason: str = ""
    feature_ids: FeatureIds | None = None
    group: NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return (
            f"TextRows({self.rows.n_rows:,} rows, n_features={self.n_features}, n_fields={self.n_fields}, "
            f"task={self.task!r})"
        )


def text_format(path: str | os.PathLike[str]) -> str | None:
    """The format of the suffix of `path` (.svm, .libsvm, .svmlight; .ffm, .libffm), or None."""
    return _SUFFIXES.get(Path(path).suffix.lower())


def source_format(source: Source, format: str = "auto") -> str:
    """The format of text files: as given, or, for "auto", by the suffix of all of them."""
    if format != "auto":
        check_choice("format", format, FORMATS)
        return format
    paths = [path for name in _names(source) for path in glob.glob(name, recursive=True) or [name]]
    formats = {text_format(path) for path in paths}
    found = formats.pop()
    if found is None or formats:
        rule = f"format must be libsvm or libffm where the suffix is none of {', '.join(_SUFFIXES)}"
        raise SettingError(got(rule, path=paths[0]))
    return found


def read_text(
    source: Source,
    *,
    format: str = "auto",
    n_features: int | None = None,
    n_fields: int | None = None,
    unseen: str = "refuse",
    task: str = "auto",
    labels: tuple[float, float] | None = None,
    feature_ids: FeatureIds | None = None,
    number_ids: bool = False,
    n_threads: int = 0,
) -> TextRows:
    """Read libsvm or libffm text files; the grammar is at the top of this module.

    Parameters
    ----------
    source : path, glob pattern, or list of them
        Several files are read one after the other, those of a pattern in the order of their names.
    format : str
        "libsvm", "libffm", or "auto": by the suffix.
    n_features, n_fields : int, optional
        Ids must lie in 0 … n_features − 1, fields in 0 … n_fields − 1. Absent: what the file needs.
    unseen : str
        What happens to entries beyond n_features and n_fields: "refuse" makes them an error, which is right for
        training; "drop" leaves them out of their rows and counts them, which is right for scoring with a model.
    task : str
        "binary" allows two different whole numbers; "regression" and "poisson" any number. "auto" is binary if there
        are two, otherwise regression.
    labels : tuple of two numbers, optional
        The labels of the negative and the positive class, where they are known already.
    feature_ids : uint64 array of shape (n_features,), optional
        The ids of training, ascending, where ids became their numbers: other ids are dropped.
    number_ids : bool
        Whether ids become numbers where a few are spread over a wide range, or where they have more than 31 bits.
    n_threads : int
        0 means all cores of this process. The result does not depend on it.

    Raises
    ------
    SettingError
        An argument breaks its rule.
    InputError
        A file is missing, compressed or not of the format; the text names file, line, column (the character in the
        line), what was expected and what was found.
    """
    check_choice("unseen", unseen, ("refuse", "drop"))
    check_choice("task", task, ("auto", *TASKS))
    size = integer(1, MAX_FEATURES)
    for name, value, rule in (
        ("n_features", n_features, size),
        ("n_fields", n_fields, size),
        ("n_threads", n_threads, integer(0, 1024)),
    ):
        if value is not None and not rule.holds(value):
            raise SettingError(got(f"{name} must be {rule.text}", **{name: value}))
    format = source_format(source, format)
    _names(source)
    paths = list(map(str, find_paths(source)))
    is_wide = feature_ids is not None
    own_labels = labels is not None and labels not in ((0, 1), (-1, 1))
    grammar = _Grammar(
        is_libffm=format == "libffm",
        is_binary=task != "auto" and get_task(task).is_classification and not own_labels,
        drop_unseen=unseen == "drop",
        max_id=MAX_FEATURES - 1 if is_wide else (n_features or MAX_FEATURES) - 1,
        max_field=(n_fields or MAX_FEATURES) - 1,
    )
    n_threads = thread_count(n_threads)
    refused: InputError | None = None
    rewrite = Renumbered(format) if is_wide and int(feature_ids[-1]) >= MAX_FEATURES else None  # type: ignore[index]
    while True:
        try:
            found = _parse(paths, grammar, n_threads, rewrite)
            break
        except _RefusedError as fault:
            if rewrite is None and (fault.is_group or (fault.is_large_id and (number_ids or is_wide))):
                rewrite = Renumbered(format)
            elif grammar.is_binary and fault.part == "label" and labels is None and fault.is_number:
                grammar = replace(grammar, is_binary=False)
                refused = fault.error
            else:
                raise fault.error from None
    task, negative, positive, reason = _labels(task, found, labels, paths)
    if refused is not None and not get_task(task).is_classification:
        raise refused
    y = found["y"]
    if get_task(task).is_classification:
        y = (y == np.float32(positive)).astype(np.float32)
    if found["n_dropped"]:
        _log.info("%d entries with unseen ids or fields were dropped", found["n_dropped"])
    rows = _rows(found, y, with_fields=grammar.is_libffm)
    n_features, rows, feature_ids, n_unknown = _numbered(
        rows, rewrite, n_features or found["max_id"] + 1, feature_ids, number_ids=number_ids
    )
    return TextRows(
        rows=rows,
        n_features=n_features,
        n_fields=(n_fields or found["max_field"] + 1) if grammar.is_libffm else 1,
        task=task,
        negative_label=negative,
        positive_label=positive,
        label_reason=reason,
        n_unseen=found["n_dropped"] + n_unknown,
        n_blank_lines=found["n_blank_lines"],
        n_shared_ids=found["n_shared_ids"],
        feature_ids=feature_ids,
        group=_group(rewrite, rows.n_rows, paths),
    )


def _numbered(
    rows: Rows, rewrite: Renumbered | None, n_features: int, known: FeatureIds | None, *, number_ids: bool
) -> tuple[int, Rows, FeatureIds | None, int]:
    """n_features, the rows with numbers for ids, the ids by number, and how many entries were left out."""
    ids: NDArray[np.integer] = rows.ids
    if rewrite is not None:
        in_file = rewrite.ids()
        ids = in_file[rows.ids] if len(in_file) else rows.ids
        largest = int(in_file.max(initial=np.uint64(0)))
        if known is None and largest < MAX_FEATURES and not (number_ids and is_sparse(ids, largest + 1)[0]):
            return max(largest + 1, 1), replace(rows, ids=ids.astype(np.int32)), None, 0
        distinct = np.sort(in_file)
    else:
        sparse, distinct = (
            is_sparse(ids, n_features) if number_ids and known is None else (False, np.zeros(0, np.uint64))
        )
        if known is None and not sparse:
            return n_features, rows, None, 0
    known = distinct if known is None else known
    rows, n_unknown = with_numbers(rows, ids, known)
    _log.info("%d ids of the text files are numbered", len(known))
    return len(known), rows, known, n_unknown


def _group(rewrite: Renumbered | None, n_rows: int, paths: list[str]) -> NDArray[np.int64] | None:
    if rewrite is None or not rewrite.groups:
        return None
    if len(rewrite.groups) != n_rows:
        rule = f"every row must have a group (qid:), or none, but {len(rewrite.groups)} of {n_rows} rows have one"
        raise input_error(rule, file=paths[0])
    return np.array(rewrite.groups, np.int64)


class _RefusedError(Exception):
    """What the parser refuses: the part of the line, the bytes there, and the error in words."""

    def __init__(self, part: str, found: bytes, error: InputError) -> None:
        self.part, self.found, self.error = part, found, error

    @property
    def is_group(self) -> bool:
        return self.found.startswith(b"qid:")

    @property
    def is_large_id(self) -> bool:
        return self.part == "id" and self.found.partition(b":")[0].isdigit() and len(self.found) > 9

    @property
    def is_number(self) -> bool:
        try:
            return bool(np.isfinite(float(self.found)))
        except ValueError:
            return False


def _parse(paths: list[str], grammar: _Grammar, n_threads: int, rewrite: Renumbered | None) -> dict[str, Any]:
    if rewrite is not None:
        grammar = replace(grammar, max_id=MAX_FEATURES - 1)
    parser = grammar.parser(n_threads)
    for path in paths:
        try:
            _feed(parser, path, grammar, rewrite)
        except OSError as error:
            raise input_error(f"the file cannot be read: {error.strerror or error}", file=path) from error
    found: dict[str, Any] = parser.finish()
    return found


def _names(source: Source) -> list[str]:
    names = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not names:
        raise InputError("there must be at least one file to read, got source=[]")
    return [os.fspath(name) for name in names]


@dataclass(frozen=True, kw_only=True)
class _Grammar:
    """What the parser allows, and the words for what it does not allow."""

    is_libffm: bool
    is_binary: bool
    drop_unseen: bool
    max_id: int
    max_field: int

    def parser(self, n_threads: int) -> Any:
        return kernels.TextParser.make(
            fields=self.is_libffm,
            binary=self.is_binary,
            drop_unseen=self.drop_unseen,
            max_id=self.max_id,
            max_field=self.max_field,
            n_threads=n_threads,
        )

    def refuse(self, fault: tuple[str, int, int, bytes] | None, path: str) -> None:
        """Raise _RefusedError for a fault of the parser: the part of the line, line, column, and the bytes there."""
        if fault is not None:
            part, line, column, found = fault
            text = found.decode("utf-8", "backslashreplace")
            error = input_error(
                f"expected {self._expected(part)}" + ("" if text else ", but the line ends"),
                file=path,
                line=line,
                column=column,
                value=text or None,
                remedy=self._remedy(part, found),
            )
            raise _RefusedError(part, found, error)

    def _expected(self, part: str) -> str:
        end = "and then a blank or the end of the line"
        number = "a decimal number within the range of float32"
        if part == "label":
            return f"a label, {'0, 1 or -1' if self.is_binary else number}, {end}"
        if part == "value":
            return f"a value, {number}, {end}"
        name, limit = ("field", self.max_field) if part == "field" else ("feature id", self.max_id)
        return f"a {name} from 0 to {MAX_FEATURES - 1 if self.drop_unseen else limit} and then ':'"

    def _remedy(self, part: str, found: bytes) -> str | None:
        if part == "label" and b":" in found:
            return "Every line starts with a label: put 0 there where it is not known."
        if part == "label" and self.is_binary:
            return "For other numbers choose the task 'regression'."
        if self.is_libffm and part == "id" and b":" not in found:
            return "Entries of libffm are field:id:value. If this is a libsvm file, choose the format 'libsvm'."
        if not self.is_libffm and part == "value" and b":" in found:
            return "Entries of libsvm are id:value. If this is a libffm file, choose the format 'libffm'."
        return "Leave entries whose value is missing out of the row." if part == "value" else None


def _feed(parser: Any, path: str, grammar: _Grammar, rewrite: Renumbered | None) -> None:
    """Pass a file to the parser, block by block, so that memory stays small and Ctrl-C works."""
    buffer = bytearray(_BLOCK_BYTES)
    block = np.frombuffer(buffer, np.uint8)
    begun = b""  # the line that a block ends with, where text is rewritten
    with open(path, "rb", buffering=0) as file:
        n = file.readinto(buffer)
        for magic, name in _COMPRESSED.items():
            if buffer.startswith(magic):
                raise input_error(f"the file is compressed ({name})", file=path, remedy="Decompress it first.")
        start = len(codecs.BOM_UTF8) if buffer.startswith(codecs.BOM_UTF8) else 0
        while n:
            if rewrite is None:
                grammar.refuse(parser.feed(block[start:n]), path)
            else:
                whole, newline, rest = bytes(buffer[start:n]).rpartition(b"\n")
                if newline:
                    text = rewrite(begun + whole + newline)
                    grammar.refuse(parser.feed(np.frombuffer(text, np.uint8)), path)
                    begun = b""
                begun += rest
            n, start = file.readinto(buffer), 0
    if rewrite is not None and begun:
        grammar.refuse(parser.feed(np.frombuffer(rewrite(begun), np.uint8)), path)
    grammar.refuse(parser.end_file(), path)


def _labels(
    task: str, found: dict[str, Any], known: tuple[float, float] | None, paths: list[str]
) -> tuple[str, float, float, str]:
    """The task, the labels of the negative and of the positive class, and the reason in words.

    Parameters
    ----------
    found : dict
        Of which "labels" are three (file, line, value) or None: where 0, -1 and other labels than 0, 1 and -1 first
        occur.
    """
    zero, minus_one, other = found["labels"]
    if task != "auto" and not get_task(task).is_classification:
        return task, 0, 1, "as asked"
    if known is not None and known not in ((0, 1), (-1, 1)):
        strange = ~np.isin(found["y"], np.array(known, np.float32))
        if strange.any():
            row = int(np.argmax(strange))
            rule = f"a label must be {known[0]:g} or {known[1]:g}, as in training"
            raise input_error(rule, file=paths[0], row=row + 1, value=float(found["y"][row]))
        return "binary", *known, "as in training"
    if other is not None:
        distinct = np.unique(found["y"])
        if len(distinct) == 2 and (distinct == np.round(distinct)).all():
            low, high = map(int, distinct.tolist())
            return "binary", low, high, f"{low} or {high}; {high} is positive"
        reason = f"{len(distinct):,} distinct labels"
        if len(distinct) <= 20 and (distinct == np.round(distinct)).all():
            reason += ". If they are classes, train one model for each class against the rest, with labels 0 and 1"
        return "regression", 0, 1, reason
    if zero is not None and minus_one is not None:
        file, line, value = max(zero, minus_one)
        raise input_error(
            "labels must be 0 and 1, or -1 and 1, but 0 and -1 both occur",
            file=paths[file],
            line=line,
            value=int(value),
            remedy="If they are numbers to predict, choose the task 'regression'.",
        )
    negative = -1 if minus_one is not None else 0
    if negative:
        _log.info("the labels -1 and 1 were read as 0 and 1")
    return "binary", negative, 1, f"{negative} or 1"


def check_digits(y: Targets | None) -> None:
    """Raise InputError for targets whose differences are lost in float32, which labels of text files are read as."""
    if y is None or len(y) == 0:
        return
    spread, largest = float(y.std(dtype=np.float64)), float(np.abs(y).max())
    rounding = float(np.spacing(np.float32(largest)))
    if rounding > _MAX_ROUNDING * spread and (spread > 0 or rounding > 1):
        rule = "labels of text files have seven digits, which leaves few for what they differ by"
        mean = float(f"{y.mean(dtype=np.float64):.4g}")
        raise InputError(got(rule, largest=largest, deviation=spread) + f". Subtract {mean:,.10g} from all of them.")


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
