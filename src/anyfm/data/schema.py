"""Schemas: what each column of a table is to the model, why, and how it is coded."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.core.settings import Rule, Settings, choice, integer, optional, setting
from anyfm.data.dates import PARTS

KINDS = ("categorical", "numeric", "scaled", "log", "tags", "boolean", "datetime", "ignore")
N_BINS = 32
MIN_COUNT = 2
"""With 2, values seen once train the unseen feature; with 1 nothing would, and it would be worth nothing."""

_text = Rule("text", lambda value: isinstance(value, str), str)
_separator = Rule("a separator of at least one character", lambda value: isinstance(value, str) and value != "", str)
_parts = Rule(
    "some of " + ", ".join(PARTS),
    lambda value: isinstance(value, (tuple, list)) and set(value) <= set(PARTS) and len(set(value)) == len(value),
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
        (logarithmic bins); "tags" (many values); "boolean"; "datetime" (quantile bins of the moment, or its parts);
        "ignore".
    reason : str
        Why it is of this kind, in words for the user.
    n_bins : int
        At most so many quantile bins (numeric, datetime without parts).
    separator : str, optional
        Between the tags of a text column.
    min_count : int
        Values seen less often in training share the unseen feature.
    parts : tuple of str
        Parts of a datetime, each a field of its own named "column.part".
    """

    name: str = setting("", _text, "the column")
    kind: str = setting("categorical", choice(*KINDS), "what the column is to the model")
    reason: str = setting("", _text, "why it is of this kind")
    n_bins: int = setting(N_BINS, integer(2, 65_536), "at most so many quantile bins")
    separator: str | None = setting(None, optional(_separator), "between the tags of a text column")
    min_count: int = setting(MIN_COUNT, integer(1), "values seen less often share the unseen feature")
    parts: tuple[str, ...] = setting((), _parts, "parts of a datetime that become fields")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "parts", tuple(self.parts))
        if self.parts and self.kind != "datetime":
            raise SettingError(got("parts belong to a field of kind datetime", name=self.name, kind=self.kind))

    @property
    def field_names(self) -> tuple[str, ...]:
        """The encoded fields it gives: none, itself, or one a part."""
        if self.kind == "ignore":
            return ()
        return tuple(f"{self.name}.{part}" for part in self.parts) or (self.name,)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The column to predict.

    Parameters
    ----------
    name : str
    task : {"binary", "regression"}
    classes : tuple of two values, optional
        Of a binary target, the negative class first.
    positive : value, optional
        The class coded as 1.
    reason : str
    """

    name: str
    task: str
    classes: tuple[Any, Any] | None = None
    positive: Any = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The fields of a table, its target and its weight column, if it has them."""

    fields: tuple[Field, ...]
    target: Target | None = None
    weight: str | None = None

    def __post_init__(self) -> None:
        names = [name for field in self.fields for name in field.field_names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingError(got("the fields of a schema must have distinct names", twice=twice))

    @property
    def used(self) -> tuple[Field, ...]:
        """The fields that are not ignored."""
        return tuple(field for field in self.fields if field.kind != "ignore")

    def to_dict(self) -> dict[str, Any]:
        """The schema in plain values, ready for JSON."""
        return {
            "fields": [{**field.to_dict(), "parts": list(field.parts)} for field in self.fields],
            "target": None
            if self.target is None
            else {
                **dataclasses.asdict(self.target),
                "classes": None if self.target.classes is None else list(self.target.classes),
            },
            "weight": self.weight,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Schema:
        """Put together again what `to_dict` gave."""
        target = plain["target"]
        if target is not None:
            classes = target["classes"]
            target = Target(**{**target, "classes": None if classes is None else tuple(classes)})
        return cls(fields=tuple(Field(**field) for field in plain["fields"]), target=target, weight=plain["weight"])

    def describe(self) -> str:
        """The schema as lines of text: a column, its kind and the reason."""
        rows = [(field.name, field.kind, field.reason) for field in self.fields]
        if self.target is not None:
            rows.append((self.target.name, f"target ({self.target.task})", self.target.reason))
        if self.weight is not None:
            rows.append((self.weight, "weight", "given as the weight column"))
        name_width = max((len(row[0]) for row in rows), default=0)
        kind_width = max((len(row[1]) for row in rows), default=0)
        return "\n".join(f"{name:{name_width}}  {kind:{kind_width}}  {reason}" for name, kind, reason in rows)


def schema_from_toml(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read overrides for `infer_schema` from a TOML file with a table ``[fields.<column>]`` for each column.

    Raises
    ------
    InputError
        The file is absent, is no TOML, or has other tables than ``fields``.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(located(f"a schema file must be readable UTF-8 text ({problem})", file=str(path))) from None
    except tomllib.TOMLDecodeError as problem:
        raise InputError(located(f"a schema file must be TOML ({problem})", file=str(path))) from None
    others = sorted(set(content) - {"fields"})
    fields = content.get("fields", {})
    if others or not isinstance(fields, dict):
        raise InputError(
            located(
                f"a schema file holds tables [fields.<column>] only, but it has {others or 'fields'}",
                file=str(path),
                remedy='Write for example [fields.zip] and below it kind = "categorical".',
            )
        )
    return overrides_of(fields)


def overrides_of(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Check overrides and bring each to a mapping of settings; a bare word is a kind.

    Raises
    ------
    SettingError
        An override has a setting that a field has not, or a value that breaks its rule.
    """
    known = {item.name for item in dataclasses.fields(Field)} - {"name", "reason"}
    overrides = {}
    for name, value in given.items():
        settings = {"kind": value} if isinstance(value, str) else value
        if not isinstance(settings, Mapping):
            raise SettingError(got(f"the override of field {name!r} must be a kind or a mapping", came=settings))
        for setting_name in settings:
            if setting_name not in known:
                raise SettingError(
                    got(f"a setting of field {name!r} must be one of {', '.join(sorted(known))}", setting=setting_name)
                )
        try:
            Field(**{"name": name, "kind": "datetime" if settings.get("parts") else "categorical", **settings})
        except SettingError as problem:
            raise SettingError(f"field {name!r}: {problem}") from None
        overrides[name] = dict(settings)
    return overrides


def __getattr__(name: str) -> Any:
    """`infer_schema` is reached from here as well; it lives in `inference`, which needs this module."""
    if name == "infer_schema":
        from anyfm.data.inference import infer_schema

        return infer_schema
    raise AttributeError(name)
