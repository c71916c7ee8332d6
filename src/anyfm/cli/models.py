"""``anyfm models``."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from anyfm.cli.options import GENERAL, AsJson
from anyfm.cli.output import Output, settings_text, value_text
from anyfm.core.errors import SettingError
from anyfm.core.settings import Settings, unknown_name
from anyfm.models import MODELS

_ANY = ("a value", "text", "none or text", "none or a mapping of names to values")  # rules that say nothing more


def models(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="One model only.")] = None, as_json: AsJson = False
) -> None:
    """List the models and all settings, with defaults and rules.

    Examples:
    anyfm models
    anyfm models deepfm --json
    """
    if name is not None and name not in MODELS:
        raise SettingError(unknown_name(name, MODELS, what="model"))
    output = Output(as_json=as_json)
    chosen = {key: model for key, model in MODELS.items() if name in (None, key)}
    for key, model in chosen.items():
        output.text(f"{key}: {model.title}. {model.summary}\n")
        _show_settings(output, model.settings_type, f"Settings of {key}")
        for preset, settings in model.presets.items():
            output.text(f"--preset {preset}: {settings_text(settings)}\n")
    for kind in GENERAL:
        _show_settings(output, kind, f"{kind.group}, for every model")
    output.finish(
        {
            "models": {
                key: {
                    "title": model.title,
                    "summary": model.summary,
                    "settings": _described(model.settings_type),
                    "presets": {preset: dict(settings) for preset, settings in model.presets.items()},
                }
                for key, model in chosen.items()
            },
            "settings": _by_group(),
        }
    )


def _by_group() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for kind in GENERAL:
        found[kind.group] = {**found.get(kind.group, {}), **_described(kind)}
    return found


def _described(kind: type[Settings]) -> dict[str, dict[str, Any]]:
    """The default, the rule and the meaning of every setting, for JSON."""
    return {
        item.name: {"default": item.default, "rule": item.metadata["rule"].text, "meaning": item.metadata["help"]}
        for item in dataclasses.fields(kind)
    }


def _show_settings(output: Output, kind: type[Settings], title: str) -> None:
    rows = []
    for item in dataclasses.fields(kind):
        rule = item.metadata["rule"]
        meaning = item.metadata["help"] + ("" if rule.text in _ANY else f" ({rule.text})")
        rows.append((item.name, value_text(item.default, rule.none), meaning))
    output.table(("setting", "default", "meaning"), rows, title=title)
