"""``anyfm inspect`` and ``anyfm models``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anyfm.artifact import Artifact
    from anyfm.cli.showing import Output


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The directory of a saved model.")],
    nearest: Annotated[
        str | None, typer.Option(metavar="FIELD=VALUE", help="Show the values that the model treats most like this.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many nearest values to show.")] = 10,
    min_count: Annotated[
        int, typer.Option(help="Leave values out that were seen less often in training: they have learnt little.")
    ] = 5,
    factors: Annotated[
        Path | None, typer.Option(help="Write what was learnt of every value: .parquet, .csv, .arrow or .jsonl.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
) -> None:
    """Show what a saved model is: its fields, settings, size, and how well it did in training; or values alike."""
    from anyfm.artifact import load_artifact
    from anyfm.cli.schema_view import feature_counts, schema_table, target_text
    from anyfm.cli.showing import Output, metric_facts, settings_text

    output = Output(as_json=as_json)
    artifact = load_artifact(model)
    if nearest is not None or factors is not None:
        _learnt(output, artifact, nearest, factors, top=top, min_count=min_count)
        return
    encoder = artifact.encoder
    n_parameters = artifact.model.n_parameters(artifact.n_features, artifact.n_fields)
    facts = [
        ("model", artifact.model.name),
        ("settings", settings_text(artifact.model.settings.to_dict())),
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
            "config": artifact.model.settings.to_dict(),
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


def _learnt(
    output: Output, artifact: Artifact, nearest: str | None, factors: Path | None, *, top: int, min_count: int
) -> None:
    """Show nearest values, write factors."""
    from rich.markup import escape

    from anyfm.cli.showing import table
    from anyfm.core.errors import SettingError, got
    from anyfm.data.readers import write_table
    from anyfm.explain.factors import factors_table
    from anyfm.explain.nearest import nearest_values

    result: dict[str, Any] = {"model": artifact.model.name}
    if nearest is not None:
        field, equals, value = nearest.partition("=")
        if not equals:
            raise SettingError(got("--nearest must be FIELD=VALUE", nearest=nearest))
        found = nearest_values(artifact, field, value, n=top, min_count=min_count)
        shown = table("value", "cosine", numbers=("cosine",), title=f"Nearest to {escape(nearest)}")
        for other, cosine in found:
            shown.add_row(escape(str(other)), f"{cosine:.3f}")
        output.results.print(shown)
        output.results.print("cosine: of the angle between the factors; 1 is the same direction, 0 has nothing to do.")
        result |= {"field": field, "value": value}
        result["nearest"] = [{"value": str(other), "cosine": cosine} for other, cosine in found]
    if factors is not None:
        write_table(factors_table(artifact), factors)
        output.facts([("written to", str(factors))])
        result["factors"] = str(factors)
    output.finish(result)


def models(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="One model only.")] = None,
) -> None:
    """List the models and their settings, with defaults and rules."""
    from anyfm.cli.showing import Output, settings_text, table
    from anyfm.core.errors import SettingError, got
    from anyfm.core.settings import TrainingSettings
    from anyfm.models import MODELS
    from anyfm.workflow import PRESETS

    if name is not None and name not in MODELS:
        raise SettingError(got(f"the model must be one of {', '.join(MODELS)}", model=name))
    output = Output()
    kinds = {key: kind.settings_type for key, kind in MODELS.items() if name in (None, key)}
    for title, kind in {**kinds, "training, for every model": TrainingSettings}.items():
        shown = table("setting", "default", "meaning", "must be", title=title)
        shown.columns[0].no_wrap = True  # a name is to be copied
        for item in dataclasses.fields(kind):
            shown.add_row(item.name, str(item.default), item.metadata["help"], item.metadata["rule"].text)
        output.results.print(shown)
        for preset, settings in PRESETS.get(title, {}).items():
            output.results.print(f"--preset {preset}: {settings_text(settings)}\n", markup=False)
