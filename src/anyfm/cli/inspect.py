"""``anyfm inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyfm.cli.options import AsJson, ModelPath
from anyfm.core.errors import SettingError, got

if TYPE_CHECKING:
    from anyfm.artifact import Artifact
    from anyfm.cli.output import Output


def inspect(
    model: ModelPath,
    nearest: Annotated[
        str | None,
        typer.Option(metavar="FIELD=VALUE", help="Show the values whose factors are nearest.", rich_help_panel="Model"),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="INTEGER", help="Number of nearest values to show.", rich_help_panel="Model")
    ] = 10,
    min_count: Annotated[
        int,
        typer.Option(
            metavar="INTEGER",
            help="Leave out values that occur less often in training, whose factors are uncertain.",
            rich_help_panel="Model",
        ),
    ] = 5,
    factors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the weight and the factors of every value: .parquet, .csv, .arrow or .jsonl.",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a saved model: its fields, settings, size and validation metrics.

    Examples:
    anyfm inspect model
    anyfm inspect model --nearest ad_category=cars --top 5
    anyfm inspect model --factors factors.parquet
    """
    from anyfm.artifact import load_artifact
    from anyfm.cli.output import Output

    output = Output(as_json=as_json)
    artifact = load_artifact(model)
    result: dict[str, Any] = {"model": artifact.model.name}
    if nearest is not None:
        result |= _show_nearest(output, artifact, nearest, top=top, min_count=min_count)
    if factors is not None:
        from anyfm.data.readers import write_table
        from anyfm.explain.factors import factors_table

        write_table(factors_table(artifact), factors)
        output.facts([("written to", str(factors))])
        result["factors"] = str(factors)
    if nearest is None and factors is None:
        result |= _show_model(output, artifact)
    output.finish(result)


def _show_nearest(output: Output, artifact: Artifact, nearest: str, *, top: int, min_count: int) -> dict[str, Any]:
    from anyfm.explain.neighbours import nearest_values

    field, equals, value = nearest.partition("=")
    if not equals:
        raise SettingError(got("--nearest must be FIELD=VALUE", nearest=nearest))
    found = [
        (str(other), cosine) for other, cosine in nearest_values(artifact, field, value, n=top, min_count=min_count)
    ]
    rows = [(other, f"{cosine:.3f}") for other, cosine in found]
    output.table(("value", "cosine"), rows, numbers=("cosine",), title=f"Nearest to {nearest}")
    output.text("cosine: of the angle between the factors; 1: the same direction, 0: unrelated.")
    records = [{"value": other, "cosine": cosine} for other, cosine in found]
    return {"field": field, "value": value, "nearest": records}


def _show_model(output: Output, artifact: Artifact) -> dict[str, Any]:
    from anyfm.cli.data_summary import feature_counts, show_schema, target_text
    from anyfm.cli.output import metric_facts, settings_text

    encoder, history = artifact.encoder, artifact.history
    n_parameters = artifact.model.n_parameters(artifact.n_features, artifact.n_fields)
    if encoder is not None:
        show_schema(output, encoder)
        reads = ("target", target_text(encoder.schema))
    else:
        reads = ("reads", f"{artifact.training.get('format', 'libsvm')} files of the ids it was trained on")
    output.facts(
        [
            ("model", artifact.model.name),
            reads,
            ("settings", settings_text(artifact.model.settings.to_dict())),
            ("training", settings_text(artifact.training)),
            ("size", f"{artifact.n_features:,} features in {artifact.n_fields} fields, {n_parameters:,} parameters"),
            ("best epoch", f"{history.get('best_epoch')} of {len(history.get('records', []))}"),
            ("written by", f"anyfm {artifact.anyfm_version}"),
            *((f"valid {name}", text) for name, text in metric_facts(artifact.metrics.get("valid", {}))),
        ]
    )
    return {
        "settings": artifact.model.settings.to_dict(),
        "training": dict(artifact.training),
        "metrics": dict(artifact.metrics),
        "history": dict(history),
        "features": artifact.n_features,
        "fields": artifact.n_fields if encoder is None else feature_counts(encoder),
        "parameters": n_parameters,
        "schema": None if encoder is None else encoder.schema.to_dict(),
        "anyfm_version": artifact.anyfm_version,
    }
