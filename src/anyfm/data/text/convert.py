"""Tables to libsvm and libffm text files and back, with the vocabulary kept beside the text."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.atomic import replaced_directory
from anyfm.core.errors import ArtifactError, InputError, SettingError, got, located
from anyfm.core.rows import Ids, Rows
from anyfm.data.text.reader import TextRows, read_text, text_format, write_text

if TYPE_CHECKING:
    from anyfm.data.encoder import EncodedField, Encoder

_log = logging.getLogger(__name__)

_ENCODER_FILE = "encoder.json"
_VOCABULARY_FILE = "vocabulary.parquet"
_UNSEEN, _MISSING = 0, 1


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What `convert` did.

    Parameters
    ----------
    out : Path
        The file written.
    n_rows, n_features, n_fields : int
    vocabulary : Path, optional
        The directory of the vocabulary that was written beside a text file.
    report : mapping
        Of a table made text: per field, how many values were unseen and missing. Of text: "n_blank_lines" (lines
        without a row), and "n_shared_ids" (ids that occur with several fields).
    """

    out: Path
    n_rows: int
    n_features: int
    n_fields: int
    vocabulary: Path | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


def convert(
    source: Any,
    out: str | os.PathLike[str],
    *,
    target: str | None = None,
    source_format: str = "auto",
    format: str = "auto",
    vocabulary: str | os.PathLike[str] | Encoder | None = None,
    read_options: Mapping[str, Any] | None = None,
    schema_options: Mapping[str, Any] | None = None,
) -> Converted:
    """Convert a table to libsvm or libffm text, text to a table, or one kind of text to the other.

    Parameters
    ----------
    source : path, glob, list of paths, data frame or mapping
        A text file by its suffix or by `source_format`; anything else is a table for `read_table`.
    out : path
        A text file by its suffix or by `format`; anything else is a table for `write_table`.
    target : str, optional
        The table's column of labels. Without one, and where the table lacks it, every label is 0.
    source_format, format : str
        "libsvm", "libffm", "auto" (by the suffix: .svm, .libsvm, .svmlight; .ffm, .libffm), or "table".
    vocabulary : path or Encoder, optional
        From table to text: code the table with this vocabulary instead of making one, as a test set must be. From
        text to table: give back values instead of ids. A path is a directory that an earlier conversion wrote.
    read_options, schema_options : mapping, optional
        Further arguments of `read_table`, and of `infer_schema` (task, positive, overrides, min_count).

    Raises
    ------
    SettingError, InputError, ArtifactError
        The formats do not go together, the data cannot be used, or the vocabulary is damaged or of other data.
    """
    came, wanted = _format_of(source, source_format), _format_of(out, format)
    path = Path(out)
    encoder = load_vocabulary(vocabulary) if isinstance(vocabulary, (str, os.PathLike)) else vocabulary
    if came is None and wanted is None:
        raise SettingError(
            got("source or result must be a libsvm or libffm file", source=str(source), out=str(out))
            + ". Name the format if the suffix does not say it."
        )
    if came is None:
        assert wanted is not None
        return _table_to_text(source, path, wanted, encoder, target, read_options or {}, schema_options or {})
    text = read_text(source, format=came)
    if encoder is not None:
        text = replace(text, rows=_with_fields(text.rows, encoder, check=came == "libffm"), n_fields=encoder.n_fields)
    report = {"n_blank_lines": text.n_blank_lines, "n_shared_ids": text.n_shared_ids}
    if wanted is None:
        _to_table(text, path, encoder, came)
    elif came == "libsvm" and wanted == "libffm" and encoder is None:
        raise SettingError("a libsvm file does not say which field an id is of: give its vocabulary to make it libffm")
    else:
        y = text.rows.y if text.task == "regression" else _label_numbers(text)
        write_text(replace(text.rows, y=y), path, format=wanted)
    return Converted(
        out=path, n_rows=text.rows.n_rows, n_features=text.n_features, n_fields=text.n_fields, report=report
    )


def save_vocabulary(encoder: Encoder, directory: str | os.PathLike[str]) -> None:
    """Write an encoder as a directory of two files, in one step. See `load_vocabulary`."""
    from anyfm.data.encoder import write_vocabulary

    target = Path(directory).absolute()
    if target.exists() and not (target / _ENCODER_FILE).is_file():
        problem = "this is not a vocabulary, so that it will not be replaced by one"
        raise InputError(located(problem, file=str(target), remedy="Move it away or write elsewhere."))
    with replaced_directory(target) as fresh:
        description = json.dumps(encoder.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        (fresh / _ENCODER_FILE).write_text(description + "\n", encoding="utf-8")
        write_vocabulary(encoder, fresh / _VOCABULARY_FILE)


def load_vocabulary(directory: str | os.PathLike[str]) -> Encoder:
    """Read the encoder that `save_vocabulary` wrote.

    Raises
    ------
    ArtifactError
        It is missing or damaged.
    """
    from anyfm.data.encoder import Encoder, read_vocabulary

    path = Path(directory) / _ENCODER_FILE
    try:
        description = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(located(f"the vocabulary cannot be read: {error}", file=str(path))) from None
    return Encoder.from_parts(description, read_vocabulary(Path(directory) / _VOCABULARY_FILE))


def vocabulary_beside(path: str | os.PathLike[str]) -> Path:
    """Where the vocabulary of a text file stands: ``clicks.ffm`` has ``clicks.ffm.vocabulary``."""
    return Path(f"{os.fspath(path)}.vocabulary")


def _format_of(place: Any, format: str) -> str | None:
    """libsvm or libffm, or None for a table."""
    if format not in ("auto", "table", "libsvm", "libffm"):
        raise SettingError(got("format must be one of auto, table, libsvm, libffm", format=format))
    if format != "auto":
        return None if format == "table" else format
    first = place[0] if isinstance(place, (list, tuple)) and place else place
    return text_format(first) if isinstance(first, (str, os.PathLike)) else None


def _table_to_text(
    source: Any,
    out: Path,
    format: str,
    encoder: Encoder | None,
    target: str | None,
    read_options: Mapping[str, Any],
    schema_options: Mapping[str, Any],
) -> Converted:
    from anyfm.data.encoder import Encoder
    from anyfm.data.inference import infer_schema
    from anyfm.data.readers import read_table

    if encoder is None:
        frame = read_table(source, **read_options)
        schema = infer_schema(frame, target=target, **schema_options)
        encoder, encoded = Encoder.fit_encode(frame, schema)
        vocabulary = vocabulary_beside(out)
        save_vocabulary(encoder, vocabulary)
    else:
        if target is not None and (encoder.schema.target is None or encoder.schema.target.name != target):
            raise SettingError(got("target must be that of the vocabulary, or not given", target=target))
        frame = read_table(source, **{"text_columns": encoder.text_columns, **read_options})
        known = encoder.schema.target
        encoded = encoder.encode(frame, labelled=known is not None and known.name in frame.columns)
        vocabulary = None
    if encoded.rows.y is None:
        _log.info("the table has no target: every label is written as 0")
    write_text(encoded.rows, out, format=format)
    return Converted(
        out=out,
        n_rows=encoded.rows.n_rows,
        n_features=encoder.n_features,
        n_fields=encoder.n_fields,
        vocabulary=vocabulary,
        report=encoded.report.to_dict(),
    )


# --- text to table ------------------------------------------------------------------------------------------------


def _to_table(text: TextRows, out: Path, encoder: Encoder | None, format: str) -> None:
    from anyfm.data.readers import write_table

    if encoder is not None:
        write_table({**_decoded_target(text, encoder), **_decoded_fields(text.rows, encoder)}, out)
        return
    if text.rows.is_ragged and out.suffix.lower() in (".csv", ".tsv"):
        problem = "rows of differing length do not fit into a table of this kind"
        raise InputError(located(problem, file=str(out), remedy="Write .parquet, .arrow or .jsonl."))
    write_table(_columns_of_ids(text, format), out)


def _columns_of_ids(text: TextRows, format: str) -> dict[str, Any]:
    """A column per slot for rows of fixed width, otherwise columns of lists."""
    rows = text.rows
    columns: dict[str, Any] = {"label": rows.y if text.task == "regression" else _label_numbers(text).astype(np.int8)}
    if rows.offsets is not None:
        cuts = rows.offsets[1:-1]
        for name, array in (("fields", rows.fields), ("ids", rows.ids), ("values", rows.values)):
            if array is not None:
                columns[name] = [part.tolist() for part in np.split(array, cuts)][: rows.n_rows]
        return columns
    fields = np.arange(rows.ids.shape[1]) if rows.fields is None else rows.fields
    by_field = format == "libffm" and len(np.unique(fields)) == len(fields)
    for slot, number in enumerate(fields if by_field else range(len(fields))):
        name = f"{'field' if by_field else 'slot'}_{number}"
        columns[name] = rows.ids[:, slot]
        if rows.values is not None:
            columns[f"{name}_value"] = rows.values[:, slot]
    return columns


def _label_numbers(text: TextRows) -> NDArray[np.float32]:
    """The labels of a binary task as they stood in the file."""
    assert text.rows.y is not None
    return np.where(text.rows.y == 1, 1, text.negative_label).astype(np.float32)


def _row_of_entry(rows: Rows) -> NDArray[np.int64]:
    if rows.offsets is None:
        return np.repeat(np.arange(rows.n_rows), rows.ids.shape[1])
    return np.repeat(np.arange(rows.n_rows), np.diff(rows.offsets))


def _with_fields(rows: Rows, encoder: Encoder, *, check: bool) -> Rows:
    """The same rows, ragged, each id with the field it has in the vocabulary; with `check`, fields must agree."""
    rows.check_bounds(encoder.n_features)
    ids = rows.ids.reshape(-1)
    fields = (np.searchsorted(encoder.field_offsets, ids, side="right") - 1).astype(np.int32)
    offsets = rows.offsets
    if offsets is None:
        offsets = np.arange(rows.n_rows + 1, dtype=np.int64) * rows.ids.shape[1]
    if check:
        came = rows.fields if rows.fields is not None else np.arange(rows.ids.shape[1], dtype=np.int32)
        _refuse_other_fields(rows, fields, came if rows.is_ragged else np.tile(came, rows.n_rows))
    values = None if rows.values is None else rows.values.reshape(-1)
    return Rows(ids=ids, offsets=offsets, values=values, fields=fields, y=rows.y)


def _refuse_other_fields(rows: Rows, expected: Ids, came: Ids) -> None:
    other = np.flatnonzero(expected != came)
    if len(other):
        entry = int(other[0])
        feature = int(rows.ids.reshape(-1)[entry])
        raise InputError(
            located(
                f"the id {feature} is of field {int(expected[entry])} in the vocabulary",
                row=int(_row_of_entry(rows)[entry]) + 1,
                value=f"{int(came[entry])}:{feature}",
                remedy="Give the vocabulary that was written beside this file.",
            )
        )


def _decoded_target(text: TextRows, encoder: Encoder) -> dict[str, Any]:
    target = encoder.schema.target
    y = text.rows.y
    assert y is not None
    if target is None or target.classes is None:
        return {"label" if target is None else target.name: y}
    classes = np.array([_number_or_text(value) for value in target.classes], object)
    if classes[0].__class__ is not classes[1].__class__:
        classes = np.array([str(value) for value in target.classes], object)
    return {target.name: classes[(y == 1).astype(np.int64)].tolist()}


def _number_or_text(value: Any) -> Any:
    try:
        return int(value) if str(int(value)) == str(value) else value
    except ValueError:
        return value


def _decoded_fields(rows: Rows, encoder: Encoder) -> dict[str, Any]:
    row_of_entry = _row_of_entry(rows)
    assert rows.fields is not None
    order = np.argsort(rows.fields, kind="stable")
    cuts = np.searchsorted(rows.fields[order], np.arange(encoder.n_fields + 1))
    columns = {}
    for slot, one in enumerate(encoder.fields):
        entries = order[cuts[slot] : cuts[slot + 1]]
        local = rows.ids[entries] - int(encoder.field_offsets[slot])
        values = None if rows.values is None else rows.values[entries]
        columns[one.name] = _decoded(one, encoder.field_values(slot), row_of_entry[entries], local, values, rows.n_rows)
    return columns


def _decoded(
    one: EncodedField,
    labels: list[Any],
    row: NDArray[np.int64],
    local: Ids,
    values: NDArray[np.float32] | None,
    n_rows: int,
) -> list[Any]:
    """A column of original values from the entries of one field: `row` ascending, `local` ids, `values`.

    Missing and absent become None. Where an unseen value occurs, it is "<unseen>" and the whole column is text. Bins
    become the text of their interval.
    """
    meaning = np.array([*labels, None], object)
    meaning[_MISSING] = None
    shown = meaning[local]
    if one.coder.type == "scaled" and values is not None:
        number = values.astype(np.float64) * one.coder.to_dict()["deviation"] + one.coder.to_dict()["mean"]
        shown = np.where(local == 2, number, shown)
    if (local == _UNSEEN).any():
        shown = np.array([None if value is None else str(value) for value in shown.tolist()], object)
    column: list[Any] = [None] * n_rows
    if one.coder.is_ragged:
        separator = one.coder.to_dict()["separator"]
        for first, tags in zip(*_grouped(row, shown), strict=True):
            present = [tag for tag in tags if tag is not None]
            column[first] = (separator.join(map(str, present)) if separator else present) if present else None
        return column
    twice = np.flatnonzero(np.diff(row) == 0)
    if len(twice):
        raise InputError(located("a row may hold one entry of this field", row=int(row[twice[0]]) + 1, column=one.name))
    for place, value in zip(row.tolist(), shown.tolist(), strict=True):
        column[place] = value
    return column


def _grouped(row: NDArray[np.int64], shown: NDArray[Any]) -> tuple[list[int], list[list[Any]]]:
    """The distinct rows, and what each shows."""
    rows, starts = np.unique(row, return_index=True)
    return rows.tolist(), [part.tolist() for part in np.split(shown, starts[1:])][: len(rows)]
