"""``anyfm inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anyfm.cli.data_summary import feature_counts, show_schema, target_text
from anyfm.cli.options import TABLE_SUFFIXES, AsJson, ModelPath, check_table_suffix, option
from anyfm.cli.output import Output, metric_facts, settings_text
from anyfm.core.errors import SettingError, got

if TYPE_CHECKING:
    from anyfm.model import Model


def inspect(
    model: ModelPath,
    nearest: Annotated[
        str | None, option("Model", "FIELD=VALUE", "Show the values of the field with the most similar factors.")
    ] = None,
    top: Annotated[int, option("Model", "INTEGER", "Number of most similar values to show.")] = 10,
    min_count: Annotated[int, option("Model", "INTEGER", "Leave out values that occur less often in training.")] = 5,
    factors: Annotated[
        Path | None,
        option("Output", "FILE", f"Write the weight and factors of every value: {TABLE_SUFFIXES}."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a saved model: its fields, settings, size and validation metrics.

    Examples:
    anyfm inspect model
    anyfm inspect model --nearest ad_category=cars --top 5
    anyfm inspect model --factors factors.parquet
    """
    from anyfm.data.readers import write_table
    from anyfm.model import load

    if factors is not None:
        check_table_suffix(factors)
    output = Output(as_json=as_json)
    loaded = load(model)
    result: dict[str, Any] = {"model": loaded.name}
    if nearest is not None:
        field, equals, value = nearest.partition("=")
        if not equals:
            raise SettingError(got("--nearest must be FIELD=VALUE", nearest=nearest))
        found = [(str(other), cosine) for other, cosine in loaded.nearest(field, value, n=top, min_count=min_count)]
        rows = [(other, f"{cosine:.3f}") for other, cosine in found]
        output.table(("value", "cosine"), rows, numbers=("cosine",), title=f"Most similar to {nearest}")
        output.text("cosine: cosine similarity of the factors; 1: same direction, 0: orthogonal.")
        result |= {"field": field, "value": value}
        result["nearest"] = [{"value": other, "cosine": cosine} for other, cosine in found]
    if factors is not None:
        write_table(loaded.factors(), factors)
        output.facts([("written to", str(factors))])
        result["factors"] = str(factors)
    if nearest is None and factors is None:
        result |= _show_model(output, loaded)
    output.finish(result)


def _show_model(output: Output, model: Model) -> dict[str, Any]:
    artifact, history = model.artifact, model.history
    encoder, settings = artifact.encoder, model.settings.to_dict()
    n_parameters = artifact.model.n_parameters(artifact.n_features, artifact.n_fields)
    if encoder is None:
        reads = ("reads", f"{artifact.training.get('format', 'libsvm')} files with the ids of its training file")
    else:
        show_schema(output, encoder)
        reads = ("target", target_text(encoder.schema))
    output.facts(
        [
            ("model", model.name),
            reads,
            ("task", model.task.name),
            ("settings", settings_text({k: v for k, v in settings.items() if k != "task"}, type(model.settings))),
            ("training", settings_text({name: value for name, value in artifact.training.items() if name != "search"})),
            ("size", f"{artifact.n_features:,} features in {artifact.n_fields} fields, {n_parameters:,} parameters"),
            ("best epoch", f"{history.best_epoch} of {history.n_epochs}"),
            ("written by", f"anyfm {artifact.anyfm_version}"),
            *metric_facts(model.metrics, rows="validation "),
        ]
    )
    return {
        "settings": settings,
        "training": dict(artifact.training),
        "metrics": dict(artifact.metrics),
        "history": dict(artifact.history),
        "features": artifact.n_features,
        "fields": artifact.n_fields if encoder is None else feature_counts(encoder),
        "parameters": n_parameters,
        "schema": None if encoder is None else encoder.schema.to_dict(),
        "anyfm_version": artifact.anyfm_version,
    }
