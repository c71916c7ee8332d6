"""``anyfm models``."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from anyfm.cli.options import GENERAL
from anyfm.cli.output import Output, settings_text, value_text
from anyfm.core.errors import SettingError
from anyfm.core.settings import unknown_name
from anyfm.models import MODELS


def models(name: Annotated[str | None, typer.Argument(metavar="MODEL", help="One model only.")] = None) -> None:
    """List the models and all settings, with defaults and rules.

    Examples:
    anyfm models
    anyfm models deepfm
    """
    from anyfm.pipeline import PRESETS

    if name is not None and name not in MODELS:
        raise SettingError(unknown_name(name, MODELS, what="model"))
    output = Output()
    kinds = {key: kind.settings_type for key, kind in MODELS.items() if name in (None, key)}
    for title, kind in {**kinds, **{f"every model: {kind.group.lower()}": kind for kind in GENERAL}}.items():
        rows = [
            (item.name, value_text(item.default), f"{item.metadata['help']} ({item.metadata['rule'].text})")
            for item in dataclasses.fields(kind)
        ]
        output.table(("setting", "default", "meaning"), rows, title=title)
        for preset, settings in PRESETS.get(title, {}).items():
            output.text(f"--preset {preset}: {settings_text(settings)}\n")
