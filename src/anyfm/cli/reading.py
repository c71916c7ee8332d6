"""Saved models, and data for them: a table, or text of the ids that the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyfm.core.errors import SettingError, got
from anyfm.core.settings import DataSettings, TrainingSettings, parse_settings

if TYPE_CHECKING:
    from anyfm.core.rows import Rows
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.readers import Frame
    from anyfm.data.text.reader import TextRows
    from anyfm.model import Model
    from anyfm.pipeline import TextReport

READING = ("format", "header", "column_names", "separator", "encoding")
"""The settings that say how a file is read."""


def open_model(
    path: Path, data: str, settings: Mapping[str, Any], *, labelled: bool, **table_only: Any
) -> tuple[Model, Frame | TextRows]:
    """Load a model and read data for it.

    Parameters
    ----------
    path : Path
    data : str
        A path or a glob.
    settings : mapping
        Settings of reading, and n_threads.
    labelled : bool
        Whether the labels of text must be those of the model's task.
    **table_only
        Options of the command that text does not have.
    """
    from anyfm.model import load, text_format_of
    from anyfm.pipeline import read_options

    given, training = parse_settings(settings, DataSettings, TrainingSettings)
    model = load(path, n_threads=training.n_threads)
    format = text_format_of(data, given.format)
    if format is None:
        return model, model.read(data, **read_options(given))
    for name, value in {**settings, **table_only}.items():
        if value is not None and name not in ("format", "n_threads"):
            raise SettingError(got(f"{name} is for tables; a libsvm or libffm file has no columns", **{name: value}))
    return model, model.read_text(data, format=format, labelled=labelled)


def read_tables(path: Path, settings: Mapping[str, Any], *tables: str | None) -> tuple[Model, list[Any]]:
    """Load a model and read several tables for it; None stays None. Settings as for `open_model`."""
    from anyfm.model import load
    from anyfm.pipeline import read_options

    given, training = parse_settings(settings, DataSettings, TrainingSettings)
    model = load(path, n_threads=training.n_threads)
    return model, [None if table is None else model.read(table, **read_options(given)) for table in tables]


def encode(model: Model, data: Frame | TextRows, *, labelled: bool) -> tuple[Rows, EncodingReport | TextReport]:
    """The rows to score, and what was unseen and missing in them."""
    from anyfm.data.text.reader import TextRows
    from anyfm.pipeline import TextReport

    if isinstance(data, TextRows):
        return data.rows, TextReport.of(data)
    encoded = model.encode(data, labelled=labelled)
    return encoded.rows, encoded.report
