"""Tables to libsvm and libffm text files and back, with the vocabulary stored beside the text."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anyfm.core.atomic import replace_directory
from anyfm.core.errors import ArtifactError, SettingError, got, located
from anyfm.data.encoder import Encoder, read_vocabulary, write_vocabulary
from anyfm.data.messages import check_choice, input_error
from anyfm.data.readers import read_table, write_table
from anyfm.data.schema_inference import infer_schema
from anyfm.data.text.decode import columns_of_ids, columns_of_values, labels_in_file, with_encoder_fields
from anyfm.data.text.reader import read_text, text_format
from anyfm.data.text.writer import write_text

_log = logging.getLogger(__name__)

_ENCODER_FILE = "encoder.json"
_VOCABULARY_FILE = "vocabulary.parquet"


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The result of `convert`.

    Parameters
    ----------
    out : Path
        The file written.
    n_rows, n_features, n_fields : int
    vocabulary : Path, optional
        The directory of the vocabulary that was written beside a text file.
    report : mapping
        For a table converted to text: per field, how many values were unseen and missing. For text: "n_blank_lines"
        (lines without a row), and "n_shared_ids" (ids that occur with several fields).
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
        The table's column of labels. Without one, and if the table lacks it, every label is 0.
    source_format, format : str
        "libsvm", "libffm", "auto" (by the suffix: .svm, .libsvm, .svmlight; .ffm, .libffm), or "table".
    vocabulary : path or Encoder, optional
        From table to text: encode the table with this vocabulary instead of a new one, as for a test set. From text
        to table: write values instead of ids. A path is a directory that an earlier conversion wrote.
    read_options, schema_options : mapping, optional
        Further arguments of `read_table`, and of `infer_schema` (task, positive, overrides, min_count).

    Raises
    ------
    SettingError, InputError, ArtifactError
        The formats do not go together, the data cannot be used, or the vocabulary is damaged or of other data.
    """
    format_in, format_out = _format_of(source, source_format), _format_of(out, format)
    path = Path(out)
    encoder = load_vocabulary(vocabulary) if isinstance(vocabulary, (str, os.PathLike)) else vocabulary
    if format_in is None and format_out is None:
        rule = got("source or result must be a libsvm or libffm file", source=str(source), out=str(out))
        raise SettingError(f"{rule}. Name the format if the suffix does not tell it.")
    if format_in is None:
        assert format_out is not None
        return _table_to_text(source, path, format_out, encoder, target, read_options or {}, schema_options or {})
    text = read_text(source, format=format_in)
    if encoder is not None:
        rows = with_encoder_fields(text.rows, encoder, check=format_in == "libffm")
        text = replace(text, rows=rows, n_fields=encoder.n_fields)
    if format_out is not None:
        if format_in == "libsvm" and format_out == "libffm" and encoder is None:
            raise SettingError("a libsvm file does not tell the field of an id: give its vocabulary to write libffm")
        write_text(replace(text.rows, y=labels_in_file(text)), path, format=format_out)
    elif encoder is not None:
        write_table(columns_of_values(text.rows, encoder), path)
    else:
        if text.rows.is_ragged and path.suffix.lower() in (".csv", ".tsv"):
            rule = "rows of different lengths do not fit into a table of this format"
            raise input_error(rule, file=str(path), remedy="Write .parquet, .arrow or .jsonl.")
        write_table(columns_of_ids(text, is_libffm=format_in == "libffm"), path)
    return Converted(
        out=path,
        n_rows=text.rows.n_rows,
        n_features=text.n_features,
        n_fields=text.n_fields,
        report={"n_blank_lines": text.n_blank_lines, "n_shared_ids": text.n_shared_ids},
    )


def _format_of(place: Any, format: str) -> str | None:
    """libsvm or libffm, or None for a table."""
    check_choice("format", format, ("auto", "table", "libsvm", "libffm"))
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
    vocabulary = None
    if encoder is None:
        frame = read_table(source, **read_options)
        schema = infer_schema(frame, target=target, **schema_options)
        encoder, encoded = Encoder.fit_encode(frame, schema)
        vocabulary = vocabulary_beside(out)
        save_vocabulary(encoder, vocabulary)
    else:
        known = encoder.schema.target
        if target is not None and (known is None or known.name != target):
            raise SettingError(got("target must be that of the vocabulary, or not given", target=target))
        frame = read_table(source, **{"text_columns": encoder.text_columns, **read_options})
        encoded = encoder.encode(frame, labelled=known is not None and known.name in frame.columns)
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


def vocabulary_beside(path: str | os.PathLike[str]) -> Path:
    """The directory for the vocabulary of a text file: ``clicks.ffm.vocabulary`` for ``clicks.ffm``."""
    return Path(f"{os.fspath(path)}.vocabulary")


def save_vocabulary(encoder: Encoder, directory: str | os.PathLike[str]) -> None:
    """Write an encoder as a directory of two files, replaced as a whole. See `load_vocabulary`."""
    target = Path(directory).absolute()
    if target.exists() and not (target / _ENCODER_FILE).is_file():
        rule = "a vocabulary may only replace another one, and this is not a vocabulary"
        raise input_error(rule, file=str(target), remedy="Move it away or write elsewhere.")
    description = json.dumps(encoder.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    vocabulary = io.BytesIO()
    write_vocabulary(encoder, vocabulary)
    files = {_ENCODER_FILE: f"{description}\n".encode(), _VOCABULARY_FILE: vocabulary.getvalue()}
    replace_directory(target, files, last=_ENCODER_FILE, owned=list(files))


def load_vocabulary(directory: str | os.PathLike[str]) -> Encoder:
    """Read the encoder that `save_vocabulary` wrote.

    Raises
    ------
    ArtifactError
        It is missing or damaged.
    """
    path, vocabulary = Path(directory) / _ENCODER_FILE, Path(directory) / _VOCABULARY_FILE
    try:
        description = json.loads(path.read_bytes())
        content = vocabulary.read_bytes()
    except (OSError, ValueError) as error:
        raise ArtifactError(located(f"the vocabulary cannot be read: {error}", file=str(path))) from None
    return Encoder.from_parts(description, read_vocabulary(content, file=str(vocabulary)))
