"""Options of commands, generated from the settings that `anyfm.core.settings` and the models declare."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anyfm.cli.output import value_text
from anyfm.core.errors import SettingError, got, located
from anyfm.core.settings import (
    NOT_RECORDED,
    BudgetSettings,
    DataSettings,
    TrainingSettings,
    ValidationSettings,
    unknown_name,
)
from anyfm.models import MODELS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PANELS = ("Arguments", "Explanation", "Data", "Model", "Training", "Validation", "Runtime", "Output")
"""The headings of options, in the order in which they are shown."""

GENERAL = (DataSettings, ValidationSettings, TrainingSettings, BudgetSettings)
_GENERAL_NAMES = {name for kind in GENERAL for name in kind.names()}
_REPEATED = {"fields": ("--field", "NAME=KIND[:OPTION]")}  # a mapping is given item by item
TABLE_SUFFIXES = ".parquet, .csv, .tsv, .arrow or .jsonl"
"""The formats that tables are written in, as help pages list them."""


def option(panel: str, metavar: str | None, help: str, *flags: str) -> Any:
    """An option that is no setting, listed in a panel of the help page."""
    return typer.Option(*flags, metavar=metavar, help=help, rich_help_panel=panel)


Assignments = Annotated[
    list[str] | None, option("Model", "NAME=VALUE", "Any setting by name, for scripts; may be repeated.", "--set")
]
ConfigFile = Annotated[
    Path | None,
    option("Model", "FILE.toml", "Read settings from a file, such as n_factors = 8; options override them."),
]
Quiet = Annotated[bool, option("Output", None, "Write errors only, and with --json the result.", "--quiet")]
AsJson = Annotated[bool, option("Output", None, "Print the result as one line of JSON.", "--json")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")]
DataPath = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A table with the columns of the model, or a libsvm or libffm file for a model of one."
    ),
]


def general_options(*names: str) -> list[inspect.Parameter]:
    """The settings of data, validation and training as options; only `names`, where any are given."""
    return [
        _option(item.name, {"": item}, "Runtime" if item.name in NOT_RECORDED else kind.group)
        for kind in GENERAL
        for item in dataclasses.fields(kind)
        if not names or item.name in names
    ]


def model_options() -> list[inspect.Parameter]:
    """The settings of all models as options, each once; the help says what differs among the models."""
    by_name: dict[str, dict[str, Any]] = {}
    for model, kind in MODELS.items():
        for item in dataclasses.fields(kind.settings_type):
            if item.name not in _GENERAL_NAMES:
                by_name.setdefault(item.name, {})[model] = item
    return [_option(name, items, "Model") for name, items in by_name.items()]


def _option(name: str, items: Mapping[str, dataclasses.Field[Any]], panel: str) -> inspect.Parameter:
    """One setting, declared by each of `items`, as a parameter that typer reads; None where it is not given."""
    first = next(iter(items.values()))
    flag, metavar = _REPEATED.get(name, (_flag(name), first.metadata["rule"].metavar))
    kind: Any = list[str] if name in _REPEATED else str
    if isinstance(first.default, bool):
        kind, flag = bool, f"{flag}/--no-{flag[2:]}"
    annotation = Annotated[kind | None, option(panel, metavar, _help(items), flag)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _help(items: Mapping[str, dataclasses.Field[Any]]) -> str:
    """The help of a setting and its default, by model where models differ or lack it."""
    texts: dict[str, list[str]] = {}
    defaults: dict[str, list[str]] = {}
    for model, item in items.items():
        texts.setdefault(item.metadata["help"], []).append(model)
        defaults.setdefault(value_text(item.default, item.metadata["rule"].none), []).append(model)
    if len(texts) == 1 and ("" in items or len(items) == len(MODELS)):
        text = next(iter(texts))
        text = text[0].upper() + text[1:]
    else:
        text = ". ".join(f"{', '.join(models)}: {text}" for text, models in texts.items())
    parts = [value if len(defaults) == 1 else f"{value} ({', '.join(models)})" for value, models in defaults.items()]
    return f"{text}." if parts == ["none"] and "" in items else f"{text}. Default: {', '.join(parts)}."


def with_options(*options: inspect.Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add options to a command; the values that are given reach its parameter `settings` by name."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [
            each.replace(kind=each.KEYWORD_ONLY) for each in signature.parameters.values() if each.name != "settings"
        ]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = {each.name: values.pop(each.name) for each in options}
            given = {name: value for name, value in given.items() if value not in (None, [])}
            for name in _REPEATED.keys() & given.keys():
                given[name] = name_value_pairs(_REPEATED[name][0], given[name])
            command(**values, settings=given)

        run.__signature__ = signature.replace(parameters=sorted([*own, *options], key=_place))  # type: ignore[attr-defined]
        run.__annotations__ = {}  # typer reads the signature alone
        return run

    return decorate


def _place(parameter: inspect.Parameter) -> int:
    return PANELS.index(parameter.annotation.__metadata__[0].rich_help_panel or "Arguments")


def name_value_pairs(flag: str, texts: list[str] | None) -> dict[str, str]:
    """Read NAME=VALUE texts."""
    pairs = {}
    for text in texts or []:
        name, equals, value = _divided(text) if flag == "--field" else text.partition("=")
        if not equals or not name.strip():
            raise SettingError(got(f"{flag} must be NAME=VALUE", **{flag.strip("-"): text}))
        pairs[name.strip()] = value.lstrip() if flag == "--field" else value.strip()
    return pairs


def _divided(text: str) -> tuple[str, str, str]:
    """A column and its kind: divided at the last "=" before a kind, since a column's name may hold one too."""
    from anyfm.data.schema import KINDS

    places = [i for i, character in enumerate(text) if character == "="]
    for place in reversed(places):
        if text[place + 1 :].strip().partition(":")[0] in KINDS:
            return text[:place], "=", text[place + 1 :]
    return text.partition("=")


def check_table_suffix(path: str | Path) -> None:
    """Raise SettingError, before any work, for a file that `write_table` cannot write."""
    from anyfm.data.files import SUFFIXES

    if Path(path).suffix.lower() not in SUFFIXES:
        raise SettingError(got(f"a table is written as {TABLE_SUFFIXES}", file=str(path)))


def in_options(text: str) -> str:
    """A message about settings in the spelling of the command line: ``n_factors must be … got n_factors=0`` becomes
    ``--n-factors must be … got 0``."""
    if "is not a known" in text:  # a name from a file or --set, where it is written as here
        return text
    names = sorted({*_GENERAL_NAMES, *(each.name for each in model_options()), "checkpoint", "resume"})
    first = re.match(rf"({'|'.join(names)}) (?=must|is for tables|is a setting|needs)", text)
    if first is not None:
        name = first[1]
        text = f"{_flag(name)} {text[first.end() :]}".replace(f", got {name}=", ", got ", 1)
    words = "|".join(name for name in names if "_" in name)
    return re.sub(rf"(?<![\w'\-])({words})(?![\w'])", lambda found: _flag(found[1]), text)


def _flag(name: str) -> str:
    return _REPEATED[name][0] if name in _REPEATED else f"--{name.replace('_', '-')}"


def merged_settings(given: Mapping[str, Any], assignments: list[str] | None, config: Path | None) -> dict[str, Any]:
    """The settings of a file, overridden by ``--set NAME=VALUE``, overridden by options."""
    from_file = {} if config is None else _read_config(config)
    merged = {**from_file, **name_value_pairs("--set", assignments), **given}
    if "fields" in from_file and "fields" in given:
        merged["fields"] = {**from_file["fields"], **given["fields"]}
    return merged


def _read_config(path: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(located(f"the file is not TOML: {error}", file=str(path))) from None
    known = {"model", "preset", *_GENERAL_NAMES, *(each.name for each in model_options())}
    for name in settings:
        if name not in known:
            raise SettingError(f"{unknown_name(name, known, what='setting')} (file {path})")
    return settings


def refuse_settings_of_other_models(model: str, names: Iterable[str]) -> None:
    """Raise SettingError for a setting that other models have, and this one has not."""
    if model in MODELS:
        for name in {*names} - _GENERAL_NAMES - {*MODELS[model].settings_type.names()}:
            having = [other for other, kind in MODELS.items() if name in kind.settings_type.names()]
            if having:
                raise SettingError(f"{name} is a setting of {', '.join(having)}; {model} does not have it")
