"""Options of commands, generated from the settings that `anyfm.core.settings` and the models declare."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anyfm.cli.help import PANELS
from anyfm.core.errors import SettingError, got, located
from anyfm.core.settings import DataSettings, Rule, Settings, TrainingSettings, ValidationSettings, unknown_name
from anyfm.models import MODELS

AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one line of JSON.", rich_help_panel="Output")
]
DataPath = Annotated[
    str, typer.Argument(metavar="DATA", help="A table with the fields of the model, or text of the ids it knows.")
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")]

GENERAL = (DataSettings, ValidationSettings, TrainingSettings)
READING = ("format", "header", "column_names", "separator")
"""The settings that say how a file is read."""

_REPEATED = {"fields": ("--field", "NAME=KIND")}  # settings that are mappings: one option for each item


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting as an option: its name, rule, help with default, and the panel it is listed in."""

    name: str
    rule: Rule
    help: str
    panel: str
    is_flag: bool

    @property
    def flags(self) -> str:
        return f"--{self.name.replace('_', '-')}"


def general_settings(*names: str) -> list[Setting]:
    """The settings of data, validation and training; only those of `names`, where any are given."""
    return [
        Setting(item.name, item.metadata["rule"], _described(item), kind.group, isinstance(item.default, bool))
        for kind in GENERAL
        for item in dataclasses.fields(kind)
        if not names or item.name in names
    ]


def model_settings() -> list[Setting]:
    """The settings of all models, each once; the help says what differs among the models."""
    general = {name for kind in GENERAL for name in kind.names()}
    by_name: dict[str, dict[str, dataclasses.Field[Any]]] = {}
    for model, kind in MODELS.items():
        for item in dataclasses.fields(kind.settings_type):
            if item.name not in general:
                by_name.setdefault(item.name, {})[model] = item
    settings = []
    for name, items in by_name.items():
        first = next(iter(items.values()))
        settings.append(
            Setting(name, first.metadata["rule"], _described_by_model(items), "Model", isinstance(first.default, bool))
        )
    return settings


def with_settings(settings: Iterable[Setting]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each setting; those that are given reach its parameter `settings` by name."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]
        names = [parameter.name for parameter in own]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in list(values) if name not in names}
            command(**values, settings=_without_blanks(given))

        parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in own]
        parameters = sorted([*parameters, *map(_parameter, settings)], key=_panel_place)
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        return run

    return decorate


def all_settings(given: Mapping[str, Any], assignments: list[str] | None, config: Path | None) -> dict[str, Any]:
    """The settings of a file, overruled by ``--set NAME=VALUE``, overruled by options."""
    from_file = {} if config is None else _read_config(config)
    merged = {**from_file, **pairs("--set", assignments), **given}
    fields = {**(from_file.get("fields") or {}), **given.get("fields", {})}
    return {**merged, "fields": fields} if fields else merged


def refuse_settings_of_other_models(model: str, names: Iterable[str]) -> None:
    """Raise SettingError for a setting that other models have, and this one has not."""
    if model not in MODELS:
        return
    known = {name for kind in (*GENERAL, MODELS[model].settings_type) for name in kind.names()}
    for name in names:
        having = [other for other, kind in MODELS.items() if name in kind.settings_type.names()]
        if name not in known and having:
            raise SettingError(f"{name} is a setting of {', '.join(having)}; {model} does not have it")


def pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    """Read NAME=VALUE texts."""
    found = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise SettingError(got(f"{option} must be NAME=VALUE", **{option.strip("-"): text}))
        found[name.strip()] = value.strip()
    return found


# --- help ---------------------------------------------------------------------------------------------------------


def _described(item: dataclasses.Field[Any]) -> str:
    default = "" if item.default is None else f" Default: {default_text(item.default)}."
    return f"{_capitalized(item.metadata['help'])}.{default}"


def _described_by_model(items: Mapping[str, dataclasses.Field[Any]]) -> str:
    """The help of one setting of several models, whose texts and defaults may differ."""
    models: dict[str, list[str]] = {}  # by help text
    defaults: dict[str, list[str]] = {}
    for model, item in items.items():
        models.setdefault(item.metadata["help"], []).append(model)
        defaults.setdefault(default_text(item.default), []).append(model)
    texts = [_capitalized(text) for text in models]
    if len(models) > 1:
        texts = [f"{_capitalized(', '.join(names))}: {text}" for text, names in models.items()]
    parts = [default if len(defaults) == 1 else f"{default} ({', '.join(names)})" for default, names in defaults.items()]
    only = f" Only {', '.join(items)}." if len(items) < len(MODELS) and len(models) == 1 else ""
    return f"{'. '.join(texts)}. Default: {', '.join(parts)}.{only}"


def default_text(default: Any) -> str:
    """A default as it is written on the command line."""
    if isinstance(default, bool):
        return "on" if default else "off"
    return "none" if default is None else str(default)


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- the parameters of a command ----------------------------------------------------------------------------------


def _parameter(setting: Setting) -> inspect.Parameter:
    kind: Any = bool | None if setting.is_flag else str | None
    flags, metavar = setting.flags, setting.rule.metavar
    parser = None
    if setting.name in _REPEATED:
        flags, metavar = _REPEATED[setting.name]
        kind = list[str] | None
    option = typer.Option(flags, help=setting.help, metavar=metavar, rich_help_panel=setting.panel)
    if setting.is_flag:
        option = typer.Option(f"{flags}/--no-{flags[2:]}", help=setting.help, rich_help_panel=setting.panel)
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=parser, annotation=Annotated[kind, option]
    )


def _without_blanks(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are given; repeated options as mappings."""
    values = {name: value for name, value in given.items() if value is not None and value != []}
    return {name: pairs(_REPEATED[name][0], v) if name in _REPEATED else v for name, v in values.items()}


def _panel_place(parameter: inspect.Parameter) -> int:
    info = parameter.annotation.__metadata__[0]
    return PANELS.index(getattr(info, "rich_help_panel", None) or "Arguments")


# --- a file of options --------------------------------------------------------------------------------------------


def _read_config(path: Path) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        options: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(located(f"the file is not TOML: {error}", file=str(path))) from None
    kinds: list[type[Settings]] = [*GENERAL, *(kind.settings_type for kind in MODELS.values())]
    known = {"model", "preset", *(name for kind in kinds for name in kind.names())}
    for name in options:
        if name not in known:
            raise SettingError(located(unknown_name(name, known, what="setting").rstrip("."), file=str(path)))
    return options
