"""``anyfm models``."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from anyfm.cli.options import GENERAL
from anyfm.cli.output import Output, settings_text, value_text
from anyfm.core.errors import SettingError
from anyfm.core.settings import Settings, unknown_name
from anyfm.models import MODELS


def models(name: Annotated[str | None, typer.Argument(metavar="MODEL", help="One model only.")] = None) -> None:
    """List the models and all settings, with defaults and rules.

    Examples:
    anyfm models
    anyfm models deepfm
    """
    if name is not None and name not in MODELS:
        raise SettingError(unknown_name(name, MODELS, what="model"))
    output = Output()
    for key, model in MODELS.items():
        if name in (None, key):
            output.text(f"{key}: {model.title}. {model.summary}\n")
            _show_settings(output, model.settings_type, f"Settings of {key}")
            for preset, settings in model.presets.items():
                output.text(f"--preset {preset}: {settings_text(settings)}\n")
    for kind in GENERAL:
        _show_settings(output, kind, f"{kind.group}, for every model")


def _show_settings(output: Output, kind: type[Settings], title: str) -> None:
    rows = [
        (item.name, value_text(item.default), f"{item.metadata['help']} ({item.metadata['rule'].text})")
        for item in dataclasses.fields(kind)
    ]
    output.table(("setting", "default", "meaning"), rows, title=title)
