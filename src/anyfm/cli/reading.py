"""Data for a saved model: a table, or text of the ids that the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyfm.core.errors import SettingError, got
from anyfm.core.settings import DataSettings

if TYPE_CHECKING:
    from anyfm.core.rows import Rows
    from anyfm.data.encoding_report import EncodingReport
    from anyfm.data.readers import Frame
    from anyfm.data.text.reader import TextRows
    from anyfm.model import Model
    from anyfm.pipeline import TextReport


def read_data(
    model: Model, data: str, settings: Mapping[str, Any], *, labelled: bool, table_only: Mapping[str, Any] | None = None
) -> Frame | TextRows:
    """Read a table as a data frame, or text of ids as rows.

    Parameters
    ----------
    model : Model
    data : str
        A path or a glob.
    settings : mapping
        Settings of `DataSettings` that say how the file is read.
    labelled : bool
        Whether the labels of text must be those of the model's task.
    table_only : mapping, optional
        Options by name that text does not have.
    """
    from anyfm.model import text_format_of

    given = DataSettings.from_mapping(settings)
    format = text_format_of(data, given.format)
    if format is None:
        return model.read(data, **read_options(given))
    for name, value in {**settings, **(table_only or {})}.items():
        if value and name != "format":
            rule = f"{name} is for tables; a libsvm or libffm file has a label, ids and values"
            raise SettingError(got(rule, **{name: value}))
    return model.read_text(data, format=format, labelled=labelled)


def encode(model: Model, found: Frame | TextRows, *, labelled: bool) -> tuple[Rows, EncodingReport | TextReport]:
    """The rows to score, and what was unseen and missing in them."""
    from anyfm.data.text.reader import TextRows
    from anyfm.pipeline import TextReport

    if isinstance(found, TextRows):
        return found.rows, TextReport.of(found)
    encoded = model.encode(found, labelled=labelled)
    return encoded.rows, encoded.report


def read_options(given: DataSettings) -> dict[str, Any]:
    """The arguments of `read_table`."""
    return {
        "format": "auto" if given.format == "table" else given.format,
        "header": None if given.header else False,
        "names": given.column_names,
        "separator": given.separator,
    }


def load_model(path: Path, settings: dict[str, Any]) -> Model:
    """Load a saved model; takes n_threads out of the settings."""
    from anyfm.core.settings import TrainingSettings
    from anyfm.model import load

    of_threads = {name: settings.pop(name) for name in list(settings) if name == "n_threads"}
    return load(path, n_threads=TrainingSettings.from_mapping(of_threads).n_threads)
