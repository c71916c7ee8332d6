"""Schemas: what each column of a table is to the model, why, and how it is encoded."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from anyfm.core.errors import SettingError, got
from anyfm.core.html import html_table
from anyfm.core.settings import Rule, Settings, choice, integer, optional, setting
from anyfm.core.task import get_task
from anyfm.data.messages import check_choice, duplicates, input_error

KINDS = ("categorical", "numeric", "scaled", "log", "tags", "boolean", "datetime", "ignore")
DATE_PARTS = ("year", "quarter", "month", "week", "day", "weekday", "hour", "minute")
FORMATS = {
    "decimal_comma": "numbers such as 1.281,87",
    "thousands_comma": "numbers such as 1,281.87",
    "clock": "times of day such as 05:31",
    "dmy": "dates with the day first, 31/12/2024",
    "mdy": "dates with the month first, 12/31/2024",
    "yyyymmdd": "dates of digits alone, 20241231, perhaps with hour, minute and second",
    "yymmddhh": "dates and hours of digits alone, 24123117",
    "yyyymm": "months of digits alone, 202412",
    "list": "lists such as ['a', 'b'] or [\"a\", \"b\"]",
}
"""How the text of a column is written, where its kind alone does not say it."""
DATE_FORMATS = ("dmy", "mdy", "yyyymmdd", "yymmddhh", "yyyymm")
NUMBER_FORMATS = ("decimal_comma", "thousands_comma", "clock")
N_BINS = 32
MIN_COUNT = 2
"""With 2, values seen once train the unseen feature; with 1 nothing would train it, and its weight would stay 0."""

_text = Rule("text", lambda value: isinstance(value, str), str)
_separator = Rule("a separator of at least one character", lambda value: isinstance(value, str) and value != "", str)
_words = Rule(
    "a sequence of words",
    lambda value: isinstance(value, (tuple, list)) and all(isinstance(word, str) for word in value),
    lambda text: tuple(text.split(",")),
)
_parts = Rule(
    "some of " + ", ".join(DATE_PARTS),
    lambda value: isinstance(value, (tuple, list)) and set(value) <= set(DATE_PARTS) and len(set(value)) == len(value),
    lambda text: tuple(text.split(",")),
)


@dataclass(frozen=True, kw_only=True)
class Field(Settings):
    """What one column is to the model.

    Parameters
    ----------
    name : str
        The column.
    kind : str
        "categorical"; "numeric" (quantile bins); "scaled" (the standardised number is the feature's value); "log"
        (logarithmic bins); "tags" (many values); "boolean"; "datetime" (quantile bins of the time, or its parts);
        "ignore".
    reason : str
        Why it has this kind, in words for the user.
    n_bins : int
        The largest number of quantile bins (numeric, datetime without parts).
    separator : str, optional
        Between the tags of a text column.
    min_count : int
        Values seen less often in training share the unseen feature.
    parts : tuple of str
        Parts of a datetime, each a separate field named "column.part".
    format : str
        How text is written, one of `FORMATS`; empty where the kind says it.
    missing : tuple of str
        Words and numbers that count as missing, besides `anyfm.data.values.MISSING_WORDS`.
    time_zone : str, optional
        Of a datetime: times with a zone become the time of day there; by default that of UTC.
    """

    name: str = setting("", _text, "the column")
    kind: str = setting("categorical", choice(*KINDS), "what the column is to the model")
    reason: str = setting("", _text, "why it has this kind")
    n_bins: int = setting(N_BINS, integer(2, 65_536), "the largest number of quantile bins")
    separator: str | None = setting(None, optional(_separator), "between the tags of a text column")
    min_count: int = setting(MIN_COUNT, integer(1), "values seen less often share the unseen feature")
    parts: tuple[str, ...] = setting((), _parts, "parts of a datetime that become fields")
    format: str = setting("", choice("", *FORMATS), "how text is written")
    missing: tuple[str, ...] = setting((), _words, "words that count as missing")
    time_zone: str | None = setting(None, optional(_text), "the zone of the time of day")

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        super().__post_init__()
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "missing", tuple(self.missing))
        if self.parts and self.kind != "datetime":
            raise SettingError(got("parts belong to a field of kind datetime", name=self.name, kind=self.kind))
        if self.time_zone is not None:
            try:
                ZoneInfo(self.time_zone)
            except (ZoneInfoNotFoundError, ValueError):
                rule = "time_zone must be the name of a time zone, such as Europe/Berlin"
                raise SettingError(got(rule, time_zone=self.time_zone)) from None

    def __repr__(self) -> str:
        return (
            f"Field({self.name!r}, {self.kind}: {self.reason})" if self.reason else f"Field({self.name!r}, {self.kind})"
        )

    @property
    def field_names(self) -> tuple[str, ...]:
        """The encoded fields that the column becomes: none, itself, or one per part."""
        if self.kind == "ignore":
            return ()
        return tuple(f"{self.name}.{part}" for part in self.parts) or (self.name,)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The column to predict.

    Parameters
    ----------
    name : str
    task : str
        The name of one of `anyfm.core.task.TASKS`.
    classes : tuple of two values, optional
        Of a binary target, the negative class first.
    positive : value, optional
        The class encoded as 1.
    reason : str
    format : str
        How text is written, as in `Field`.
    """

    name: str
    task: str
    classes: tuple[Any, Any] | None = None
    positive: Any = None
    reason: str = ""
    format: str = ""

    @property
    def is_classification(self) -> bool:
        return get_task(self.task).is_classification


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The fields of a table, its target and its weight column, if it has them."""

    fields: tuple[Field, ...]
    target: Target | None = None
    weight: str | None = None

    def __post_init__(self) -> None:
        twice = duplicates(name for field in self.fields for name in field.field_names)
        if twice:
            raise SettingError(got("the fields of a schema must have distinct names", twice=twice))

    def __repr__(self) -> str:
        target = "no target" if self.target is None else f"target {self.target.name!r}, {self.target.task}"
        return f"Schema({len(self.used)} fields, {len(self.fields) - len(self.used)} ignored columns, {target})"

    def _repr_html_(self) -> str:
        return html_table(("column", "kind", "reason"), self._lines())

    @property
    def used(self) -> tuple[Field, ...]:
        """The fields that are not ignored."""
        return tuple(field for field in self.fields if field.kind != "ignore")

    def with_reason(self, column: str, reason: str) -> Schema:
        """The schema with another reason for the kind of one column."""
        fields = (dataclasses.replace(each, reason=reason) if each.name == column else each for each in self.fields)
        return dataclasses.replace(self, fields=tuple(fields))

    def to_dict(self) -> dict[str, Any]:
        """The schema in plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Schema:
        """Restore a schema from `to_dict`."""
        target, weight = plain["target"], plain["weight"]
        names = [field["name"] for field in plain["fields"]] + [part["name"] for part in (target,) if part is not None]
        if not all(isinstance(name, str) for name in [*names, "" if weight is None else weight]):
            raise TypeError("columns must have names")
        if target is not None:
            classes = target["classes"]
            target = Target(**{**target, "classes": None if classes is None else tuple(classes)})
        return cls(fields=tuple(Field(**field) for field in plain["fields"]), target=target, weight=weight)

    def describe(self) -> str:
        """The schema as lines of text: a column, its kind and the reason."""
        lines = self._lines()
        name_width, kind_width = (max((len(line[i]) for line in lines), default=0) for i in (0, 1))
        return "\n".join(f"{name:{name_width}}  {kind:{kind_width}}  {reason}" for name, kind, reason in lines)

    def _lines(self) -> list[tuple[str, str, str]]:
        """Column, kind and reason of each field, the target and the weight."""
        lines = [(field.name, field.kind, field.reason) for field in self.fields]
        if self.target is not None:
            lines.append((self.target.name, f"target ({self.target.task})", self.target.reason))
        if self.weight is not None:
            lines.append((self.weight, "weight", "given as the weight column"))
        return lines


def schema_from_toml(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read overrides for `infer_schema` from a TOML file with a table ``[fields.<column>]`` for each column.

    Raises
    ------
    InputError
        The file is absent, is not TOML, or has other tables than ``fields``.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise input_error(f"a schema file must be readable UTF-8 text ({problem})", file=str(path)) from None
    except tomllib.TOMLDecodeError as problem:
        raise input_error(f"a schema file must be TOML ({problem})", file=str(path)) from None
    others = sorted(set(content) - {"fields"})
    fields = content.get("fields", {})
    if others or not isinstance(fields, dict):
        raise input_error(
            f"a schema file must hold tables [fields.<column>] only, but it has {others or 'fields'}",
            file=str(path),
            remedy='Write for example [fields.zip] and below it kind = "categorical".',
        )
    return check_overrides(fields)


def settings_of_kind(text: str) -> dict[str, Any]:
    """The settings of a field from "kind" or "kind:option".

    The option is the separator of tags (``tags:" "``), a format (``datetime:dmy``), parts (``datetime:hour,weekday``),
    a time zone (``datetime:Europe/Berlin``) or the number of bins (``numeric:8``).
    """
    kind, colon, option = text.partition(":")
    if not colon:
        return {"kind": kind}
    bare = option.strip("\"'") if len(option) > 1 else option
    if kind == "tags" and option != "list":
        return {"kind": kind, "separator": {"\\t": "\t", "tab": "\t"}.get(bare, bare)}
    if option in FORMATS:
        return {"kind": kind, "format": option}
    if kind == "datetime" and set(option.split(",")) <= set(DATE_PARTS):
        return {"kind": kind, "parts": tuple(option.split(","))}
    if kind == "datetime":
        return {"kind": kind, "time_zone": option}
    if option.isdecimal():
        return {"kind": kind, "n_bins": int(option)}
    raise SettingError(
        got(
            "the option of a kind must be a separator (of tags), a number of bins, a part, a time zone or one of "
            + ", ".join(FORMATS),
            kind=text,
        )
    )


def check_overrides(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Check overrides of inferred fields and return each as a mapping; `settings_of_kind` reads strings.

    Raises
    ------
    SettingError
        An override has a setting that a field does not have, or a value that breaks its rule.
    """
    known = sorted({item.name for item in dataclasses.fields(Field)} - {"name", "reason"})
    overrides = {}
    for name, value in given.items():
        settings = settings_of_kind(value) if isinstance(value, str) else value
        if not isinstance(settings, Mapping):
            raise SettingError(got(f"the override of field {name!r} must be a kind or a mapping", override=settings))
        for setting_name in settings:
            check_choice("setting", setting_name, known, what=f"a setting of field {name!r}")
        try:
            Field(**{"name": name, "kind": "datetime" if settings.get("parts") else "categorical", **settings})
        except SettingError as problem:
            raise SettingError(f"field {name!r}: {problem}") from None
        overrides[name] = dict(settings)
    return overrides
