"""``anyfm inspect`` and ``anyfm models``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Show what a saved model is: its fields, settings, size, and how well it did in training."""
    from anyfm.artifact import load_artifact
    from anyfm.cli.schema_view import feature_counts, schema_table, target_text
    from anyfm.cli.showing import Output, metric_facts, settings_text

    output = Output(as_json=as_json)
    artifact = load_artifact(model)
    encoder = artifact.encoder
    n_parameters = artifact.model.n_parameters(artifact.n_features, artifact.n_fields)
    facts = [
        ("model", artifact.model.name),
        ("settings", settings_text(artifact.model.config.to_dict())),
        ("training", settings_text(artifact.training)),
        ("size", f"{artifact.n_features:,} features in {artifact.n_fields} fields, {n_parameters:,} parameters"),
        ("epochs", f"{len(artifact.history.get('records', []))}, best {artifact.history.get('best_epoch')}"),
        ("written by", f"anyfm {artifact.anyfm_version}"),
    ]
    if encoder is not None:
        output.results.print(schema_table(encoder.schema, encoder))
        facts.insert(1, ("target", target_text(encoder.schema)))
    elif "format" in artifact.training:
        facts.insert(1, ("reads", f"{artifact.training['format']} files of the ids it was trained on"))
    output.facts([*facts, *((f"valid {name}", text) for name, text in metric_facts(artifact.metrics.get("valid", {})))])
    output.finish(
        {
            "model": artifact.model.name,
            "config": artifact.model.config.to_dict(),
            "training": dict(artifact.training),
            "metrics": dict(artifact.metrics),
            "history": dict(artifact.history),
            "features": artifact.n_features,
            "fields": artifact.n_fields if encoder is None else feature_counts(encoder),
            "parameters": n_parameters,
            "schema": None if encoder is None else encoder.schema.to_dict(),
            "anyfm_version": artifact.anyfm_version,
        }
    )


def models(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="One model only.")] = None,
) -> None:
    """List the models and their settings, with defaults and rules."""
    from anyfm.cli.showing import Output, settings_text, table
    from anyfm.config import TrainingConfig
    from anyfm.errors import SettingError, however
    from anyfm.models import MODELS
    from anyfm.workflow import PRESETS

    if name is not None and name not in MODELS:
        raise SettingError(however(f"the model must be one of {', '.join(MODELS)}", model=name))
    output = Output()
    kinds = {key: kind.config_type for key, kind in MODELS.items() if name in (None, key)}
    for title, kind in {**kinds, "training, for every model": TrainingConfig}.items():
        shown = table("setting", "default", "meaning", "must be", title=title)
        shown.columns[0].no_wrap = True  # a name is to be copied
        for item in dataclasses.fields(kind):
            shown.add_row(item.name, str(item.default), item.metadata["help"], item.metadata["rule"].text)
        output.results.print(shown)
        for preset, settings in PRESETS.get(title, {}).items():
            output.results.print(f"--preset {preset}: {settings_text(settings)}\n", markup=False)
