"""libsvm and libffm files on the command line: when a file is one, which options they have, and what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyfm.core.errors import SettingError, got

if TYPE_CHECKING:
    from anyfm.workflow import TextTable

FORMAT_HELP = "libsvm, libffm or table, where the suffix does not say it."


def is_text(data: str, format: str | None) -> bool:
    """Whether `data` is a libsvm or libffm file: by `format`, or by its suffix."""
    from anyfm.data.text.reader import FORMATS, text_format

    if format in (None, "auto"):
        return text_format(data) is not None
    if format not in ("table", *FORMATS):
        raise SettingError(got("--format must be one of auto, table, libsvm, libffm", format=format))
    return format != "table"


def refuse_table_options(options: Mapping[str, Any], reading: Mapping[str, Any]) -> None:
    """Refuse what was given of options that need columns: by name, and those of reading a table."""
    of_reading = {"no-header": "header" in reading, **{name: reading.get(name) for name in ("names", "separator")}}
    for name, value in {**options, **of_reading}.items():
        if value:
            name = {"fields": "field"}.get(name, name.replace("_", "-"))
            raise SettingError(
                got(f"--{name} is for tables; a libsvm or libffm file has a label, ids and values", **{name: value})
            )


def label_text(table: TextTable) -> str:
    if table.task == "regression":
        return "a number"
    return f"{table.negative_label} or 1"


def report_lines(name: str, report: Mapping[str, int]) -> list[str]:
    """What is worth telling of a text file; see `anyfm.prepare.text_report`."""
    words = {
        "unseen_entries": "entries were left out, their id or field is unknown to the model",
        "blank_lines": "lines without a row were skipped",
        "shared_ids": "ids stand in several fields",
    }
    return [f"{name}: {report[key]:,} {text}" for key, text in words.items() if report[key]]
