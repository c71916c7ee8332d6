"""The model card: what a saved model was made of, how good it was, and what it cannot do, as Markdown.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019 (arXiv:1810.03993): what can be read from the saved
model. Purpose and ethical considerations are left to its authors.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anyfm import __version__
from anyfm.artifact import FORMAT_VERSION, Artifact
from anyfm.core.errors import MissingDependencyError

_MAX_FIELDS = 200


@dataclass(frozen=True)
class Card:
    """Facts and sentences about a model.

    Parameters
    ----------
    title, target, formula : str
        The model's name in text, what is predicted, and the model's summary.
    facts : dict of str to str
        What the model is and how it was trained.
    data : dict of str to str
        The training data: rows, how rows were held out, the times they are of, their fingerprint.
    metrics : dict of str to float
        On the validation rows.
    fields : list of (column, kind, number of features, reason)
    limits : list of str
        Sentences.
    """

    title: str
    target: str
    formula: str
    facts: dict[str, str]
    data: dict[str, str]
    metrics: dict[str, float]
    fields: list[tuple[str, str, str, str]]
    limits: list[str]


def card_of(artifact: Artifact) -> Card:
    """The card of a model, without the text around it."""
    model, encoder = artifact.model, artifact.encoder
    target = "the label of the file"
    if encoder is not None and encoder.schema.target is not None:
        target = encoder.schema.target.name
        if model.task.is_classification:
            target = f"the probability of {target} = {encoder.schema.target.positive}"
    return Card(
        title=model.title,
        target=target,
        formula=model.summary,
        facts=_facts(artifact),
        data=_data(artifact),
        metrics=dict(artifact.metrics.get("valid", {})),
        fields=_fields(artifact),
        limits=_limits(artifact),
    )


def _facts(artifact: Artifact) -> dict[str, str]:
    model, history = artifact.model, artifact.history
    defaults = {field.name: field.default for field in dataclasses.fields(model.settings_type)}
    changed = {name: value for name, value in model.settings.to_dict().items() if value != defaults.get(name)}
    facts = {
        "model": f"{model.title} ({model.name})",
        "task": model.task.name,
        "fields": f"{artifact.n_fields:,}",
        "features": f"{artifact.n_features:,}",
        "parameters": f"{model.n_parameters(artifact.n_features, artifact.n_fields):,}",
        "settings other than the defaults": ", ".join(f"{name}={value}" for name, value in changed.items()) or "none",
    }
    if history:
        best = history.get("best_epoch")
        facts["epochs"] = f"{len(history.get('records', []))}" + (
            f", the parameters are those of {best}" if best else ""
        )
    facts["seed"] = str(artifact.training.get("seed", "unknown"))
    facts["trained by"] = f"anyfm {artifact.anyfm_version}, model format {FORMAT_VERSION}"
    return facts


def _data(artifact: Artifact) -> dict[str, str]:
    training = artifact.training
    data = {
        "format": str(training.get("format", "encoded rows")),
        "training rows": f"{training.get('rows', 0):,}",
        "validation rows": f"{training.get('valid_rows', 0):,}",
    }
    if training.get("mean_target") is not None:
        name = "fraction of the positive class" if artifact.model.task.is_classification else "mean of the target"
        data[name] = f"{training['mean_target']:.6g}"
    if "held_out" in training:
        data["held out"] = training["held_out"]
    for column, (first, last) in training.get("times", {}).items():
        data[f"{column}, from and to"] = f"{first} – {last}"
    if "data_sha256" in training:
        data["fingerprint of the training rows (SHA-256)"] = training["data_sha256"]
    return data


def _fields(artifact: Artifact) -> list[tuple[str, str, str, str]]:
    if artifact.encoder is None:
        return []
    rows = []
    for field in artifact.encoder.schema.fields:
        sizes = [len(artifact.encoder.field_values(name)) for name in field.field_names]
        rows.append((field.name, field.kind, f"{sum(sizes):,}" if sizes else "", field.reason))
    return rows[:_MAX_FIELDS]


def _limits(artifact: Artifact) -> list[str]:
    training, limits = artifact.training, []
    n_valid = training.get("valid_rows", 0)
    if not n_valid:
        limits.append("No rows were held out: nothing is known of its quality on new rows.")
    elif artifact.history.get("best_epoch") is not None:
        limits.append(
            f"The epoch was chosen on the {n_valid:,} validation rows, so that their metrics are slightly optimistic. "
            "Measure on rows of a later time before relying on them."
        )
    if "at random" in training.get("held_out", ""):
        limits.append("Rows were held out at random: if rows depend on time, new rows will be predicted less well.")
    if artifact.encoder is not None:
        counts = sorted(
            {field.min_count for field in artifact.encoder.schema.used if field.kind in ("categorical", "tags")}
        )
        least = f"fewer than {counts[0]} times" if len(counts) == 1 else "rarely"
        if counts:
            limits.append(
                f"Values that were absent from training, or seen {least}, share one feature of their field: the model "
                "knows them only by the other fields."
            )
        if any(field.kind == "scaled" for field in artifact.encoder.schema.used):
            limits.append("Numbers of scaled fields beyond the range of training count as the end of that range.")
    if artifact.model.task.is_classification:
        limits.append(
            "Probabilities hold where the positive class is as frequent as in training; if the training rows were a "
            "sample by class, correct them."
        )
    limits.append("Contributions describe the model, not causes.")
    return limits


def write_card(
    artifact: Artifact, *, name: str, measured: Mapping[str, float] | None = None, data: str | None = None
) -> str:
    """The card as Markdown.

    Parameters
    ----------
    artifact : Artifact
    name : str
        What the model is called.
    measured : mapping of str to float, optional
        Metrics on a further table, which `data` names.

    Raises
    ------
    MissingDependencyError
        Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingDependencyError("the card needs Jinja2: pip install 'anyfm[report]'") from error
    environment = Environment(  # Markdown: the filter `cell` escapes what comes from data
        loader=PackageLoader("anyfm.report"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    template = environment.get_template("card.md.jinja")
    return template.render(card=card_of(artifact), name=name, measured=measured, data=data, version=__version__)


def _cell(value: Any) -> str:
    """Text that stays one cell of a table, and no markup."""
    text = " ".join(str(value).split())
    text = text if len(text) <= 200 else f"{text[:199]}…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text)
