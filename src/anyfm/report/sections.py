"""The sections of the report after the first, from what was measured to HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anyfm.report import charts, figures
from anyfm.report.assessment import ErrorOfValue
from anyfm.report.markup import Page, Part, columns, escaped, number, table, terms
from anyfm.report.measured import Measured, Measurement

N_ROW_TERMS = 12
_MANY_FIELDS = 28
_ONE_CLASS = "All rows are of one class, so that there is no such curve."


def quality(page: Page, measurement: Measurement) -> str:
    """ROC, precision and recall, calibration, gain and lift, scores."""
    models, binary = measurement.models, measurement.task == "binary"
    parts: list[Part] = []
    if binary:
        parts += [
            page.figure(
                "roc",
                "ROC",
                "Read it: how many of the positives are found (up) for how many false alarms (right) as the threshold "
                "falls. The nearer to the upper left corner, the better; the thin diagonal is guessing.",
                figures.curves(models, "roc", "false positive rate", "true positive rate"),
                empty=_ONE_CLASS,
            ),
            page.figure(
                "pr",
                "Precision and recall",
                "Read it: going right, more of the positives are found; the height says how many of the rows taken "
                f"are positive. Guessing stays at {number(measurement.mean_target, 3)}, the share of positives.",
                figures.curves(models, "pr", "recall", "precision"),
                empty=_ONE_CLASS,
            ),
        ]
    parts.append(
        page.figure(
            "calibration",
            "Calibration",
            "Read it: rows in 20 groups by their prediction; the height is what was observed, with its 95 % interval. "
            "On the thin diagonal predictions mean what they say; below it they promise too much.",
            figures.calibration(measurement),
        )
    )
    parts += _gain_and_lift(page, models) if binary else []
    what = (
        "Read it: how the scores of positive and of negative rows are spread; the less they overlap, the better."
        if binary
        else "Read it: how far predictions miss; narrow around 0 is good, a middle beside 0 is a bias."
    )
    title = "Scores" if binary else "Errors"
    parts += [
        page.figure(f"scores-{index}", _titled(title, model, models), what, figures.histograms(model))
        for index, model in enumerate(models)
    ]
    return columns(parts)


def _gain_and_lift(page: Page, models: Sequence[Measured]) -> list[Part]:
    return [
        page.figure(
            "gain",
            "Gain",
            "Read it: taking only the best-scored share of the rows (right) finds this share of all positives "
            "(up). The thin diagonal is a random choice.",
            figures.curves(models, "gain", "share of rows", "share of positives"),
            empty=_ONE_CLASS,
        ),
        page.figure(
            "lift",
            "Lift",
            "Read it: among the best-scored share of the rows, how many times more positives there are than on "
            "average. 1 is a random choice.",
            figures.lift(models),
            empty=_ONE_CLASS,
        ),
    ]


def why(page: Page, measurement: Measurement) -> str:
    """Strengths of fields and pairs, value pairs, partial effects, model by model."""
    return _compared(page, measurement) + _by_model(measurement, lambda index, model: _why_of(page, index, model))


def _compared(page: Page, measurement: Measurement) -> str:
    """Which fields matter to which model, where there are several models of the same fields."""
    models = measurement.models
    fields = list(dict.fromkeys(field for model in models for field in model.importance.fields))
    if len(models) < 2:
        return ""
    of_models = [dict(zip(model.importance.fields, model.importance.increase, strict=True)) for model in models]
    increases = np.array([[of.get(field, np.nan) for field in fields] for of in of_models])
    order = np.argsort(-np.nanmax(increases, axis=0), kind="stable")[: charts.N_BARS]
    loss = _loss(models[0])
    return page.figure(
        "compared",
        "Which fields matter to which model",
        f"Read it: how much worse each model's {loss} gets when a field's values are shuffled among the rows. Marks "
        "apart from each other are fields that the models use differently.",
        charts.dots(
            [fields[place] for place in order],
            [(charts.text(m.name), increases[i, order], None, None) for i, m in enumerate(models)],
            f"increase of {loss}",
            line_at=0.0,
        ),
    ).html


def _why_of(page: Page, index: int, model: Measured) -> str:
    strengths = model.strengths
    names = list(model.examples.field_names)
    interaction = strengths.matrix(model.interaction)
    alone = strengths.main if model.deep_absolute is None else strengths.main + model.deep_absolute
    total = alone + np.nansum(interaction, axis=1)
    how = "standard deviation over rows of the interaction"
    if model.whole is not None:
        how = "standard deviation of the interaction, of pairs and perceptron together, by exchanging values among rows"
    parts = [
        page.figure(
            f"heat-{index}",
            "Which fields act together",
            f"Read it: how much each pair of fields moves the score beyond what both do alone ({how}, in "
            f"{_unit(model)}). Bright is strong; hover or tap for the number.",
            charts.heat_map(names, interaction, total, "interaction") if len(strengths.field_pairs) else None,
            empty="A linear model has no pairs: every field acts alone.",
        )
    ]
    if strengths.attention is not None:
        parts.append(
            page.figure(
                f"attention-{index}",
                "Where attention goes",
                "Read it: the mean attention weight of each pair of fields; in a row all weights add up to 1. "
                "Attention says which terms are let through, not whether they raise or lower the score.",
                charts.heat_map(names, strengths.matrix(strengths.attention), total, "attention"),
            )
        )
    # A map of many fields needs the width of the page for its labels and its colour bar.
    maps, parts = (parts, []) if len(names) > _MANY_FIELDS and len(strengths.field_pairs) else ([], parts)
    parts.append(_field_bars(page, index, model, names))
    if model.deep_absolute is not None:
        parts.append(_half_bars(page, index, model, names))
    parts += [_pair_bars(page, index, model, names), _value_pairs(page, index, model)]
    effects = figures.partial_effects(model)
    if effects:
        parts.append(
            page.choice(
                f"effect-{index}",
                "What a field's values do",
                f"Read it: by how much the mean score (in {_unit(model)}) changes when every row gets this value, all "
                "else as it is. Right raises, left lowers.",
                "Field",
                effects,
            )
        )
    return "".join(part.html for part in maps) + columns(parts)


def _field_bars(page: Page, index: int, model: Measured, names: list[str]) -> Part:
    order = np.argsort(-model.importance.increase, kind="stable")[: charts.N_BARS]
    loss = _loss(model)
    return page.figure(
        f"fields-{index}",
        "Which fields matter",
        f"Read it: how much worse the {loss} gets when a field's values are shuffled among the rows, effects in pairs "
        "included; whiskers are the spread over three shuffles. This asks the model as a black box, and so checks the "
        "other figures.",
        charts.bars(
            [names[i] for i in order],
            [("increase", model.importance.increase[order])],
            f"increase of {loss}",
            deviation=model.importance.deviation[order],
        ),
    )


def _half_bars(page: Page, index: int, model: Measured, names: list[str]) -> Part:
    assert model.deep_absolute is not None
    order = np.argsort(-(model.strengths.main + model.deep_absolute), kind="stable")[: charts.N_BARS]
    return page.figure(
        f"halves-{index}",
        "The two halves of DeepFM",
        f"Read it: how far each field moves the score (in {_unit(model)}), in the FM half (standard deviation of its "
        "own effect, exact) and in the perceptron (mean absolute part, by integrated gradients).",
        charts.bars(
            [names[i] for i in order],
            [("FM half", model.strengths.main[order]), ("perceptron", model.deep_absolute[order])],
            f"in {_unit(model)}",
        ),
    )


def _pair_bars(page: Page, index: int, model: Measured, names: list[str]) -> Part:
    strengths = model.strengths
    order = np.argsort(-np.nan_to_num(model.interaction, nan=-np.inf), kind="stable")[: charts.N_BARS]
    pairs = strengths.field_pairs
    beside = ("mean absolute term", strengths.pair_absolute[order])
    what = "mean absolute size of the terms as the model adds them up."
    if model.whole is not None:
        beside, what = ("FM half alone", strengths.interaction[order]), "part that the FM half has in them."
    return page.figure(
        f"pairs-{index}",
        "The strongest pairs of fields",
        f"Read it: the same numbers as in the heat map, the strongest first, beside the {what}",
        charts.bars(
            [f"{names[pairs.first[i]]} × {names[pairs.second[i]]}" for i in order],
            [("interaction", model.interaction[order]), beside],
            f"in {_unit(model)}",
        )
        if len(order)
        else None,
        empty="A linear model has no pairs.",
    )


def _value_pairs(page: Page, index: int, model: Measured) -> Part:
    found, who = model.value_pairs, "model" if model.whole is None else "FM half"
    title, reading = (
        "The strongest pairs of values",
        f"Read it: the diamond is what the {who} adds for this pair (in "
        f"{_unit(model)}) beyond what both values do alone; the ring is what these rows alone say, with its 95 % "
        "interval. The diamond is filled where the interval, wholly on its side of 0, confirms the pair.",
    )
    if not found:
        return page.figure(
            f"values-{index}", title, reading, None, empty="No pair of values occurs in 20 rows or more."
        )
    none = np.full(len(found), np.nan)
    observed, lower, upper = (
        np.array([getattr(pair, name) for pair in found], np.float64) if found[0].observed is not None else none
        for name in ("observed", "lower", "upper")
    )
    effects = np.array([pair.effect for pair in found])
    labels = [f"{p.field}={p.value} × {p.other_field}={p.other_value}" for p in found]
    figure = charts.dots(
        [
            f"{_one_line(p.field)}={_one_line(p.value)}\n× {_one_line(p.other_field)}={_one_line(p.other_value)}"
            for p in found
        ],
        [(who, effects, None, None), ("rows alone", observed, lower, upper)],
        "interaction",
        line_at=0.0,
        details=[f"{p.n_rows:,} rows" for p in found],
        lines=2,
        hollow=[not p.is_confirmed for p in found],
    )
    rows = [
        [
            escaped(label),
            f"{p.n_rows:,}",
            number(p.effect, 3, sign=True),
            "" if p.observed is None else number(p.observed, 3, sign=True),
            ""
            if p.lower is None or p.upper is None
            else f"{number(p.lower, 2, sign=True)} … {number(p.upper, 2, sign=True)}",
            "yes" if p.is_confirmed else "no",
        ]
        for label, p in zip(labels, found, strict=True)
    ]
    shown = table(["pair", "rows", "model", "rows alone", "95 % interval", "confirmed"], rows, numeric=[1, 2, 3, 4])
    below = f"<details><summary>As a table</summary>{shown}</details>"
    return page.figure(f"values-{index}", title, reading, figure, below=below)


def errors(page: Page, measurement: Measurement) -> str:
    """Where the model errs, and what it had never seen."""
    return _by_model(measurement, lambda index, model: _errors_of(page, index, model))


def _errors_of(page: Page, index: int, model: Measured) -> str:
    loss = _loss(model)
    worst = sorted(model.errors, key=lambda e: -e.loss_lower)[: charts.N_BARS]
    biased = sorted(model.errors, key=lambda e: -max(e.gap_lower, -e.gap_upper))[: charts.N_BARS]
    few = "No value occurs in enough rows (30 and 0.1 % of all)."
    parts = [
        page.figure(
            f"worst-{index}",
            f"Where the {loss} is worst",
            f"Read it: the mean {loss} of the rows with this value, with its 95 % interval; the dashed line is the "
            "mean of all rows. The values whose interval begins highest come first.",
            _error_dots(worst, loss, "loss", model.mean_loss) if worst else None,
            empty=few,
        ),
        page.figure(
            f"biased-{index}",
            "Where predictions lean to one side",
            "Read it: observed minus predicted mean of the rows with this value, with its 95 % interval. Right of the "
            "dashed line the model predicts too little, left too much; with many values some will stand out by chance.",
            _error_dots(biased, "observed − predicted", "gap", 0.0) if biased else None,
            empty=few,
        ),
        _unknown(page, index, model),
    ]
    return columns(parts)


def _error_dots(found: Sequence[ErrorOfValue], title: str, what: str, line_at: float) -> charts.Figure:
    values, lower, upper = (
        np.array([getattr(error, f"{what}{end}") for error in found]) for end in ("", "_lower", "_upper")
    )
    return charts.dots(
        [error.name for error in found],
        [(title, values, lower, upper)],
        title,
        line_at=line_at,
        details=[
            f"{error.n_rows:,} rows<br>predicted {error.predicted:.4f}, observed {error.observed:.4f}"
            for error in found
        ],
    )


def _unknown(page: Page, index: int, model: Measured) -> Part:
    fields = [field for field in model.encoding.fields if field.n_unseen or field.n_missing]
    fields.sort(key=lambda field: -(field.n_unseen + field.n_missing))
    fields = fields[: charts.N_BARS]
    entries = np.array([max(field.n_entries, 1) for field in fields], np.float64)
    return page.figure(
        f"unknown-{index}",
        "Unseen and missing values",
        "Read it: the share of each field's values in this table that were rare or absent in training (unseen), or "
        "empty (missing). Many unseen values mean that the table differs from the training rows.",
        charts.bars(
            [field.name for field in fields],
            [
                ("unseen", np.array([field.n_unseen for field in fields]) / entries),
                ("missing", np.array([field.n_missing for field in fields]) / entries),
            ],
            "share of values",
            percent=True,
        )
        if fields
        else None,
        empty="No value was unseen and none was missing.",
    )


def rows(measurement: Measurement) -> str:
    """Example rows with their contributions as bars."""
    return _by_model(measurement, lambda _, model: _rows_of(measurement, model))


def _rows_of(measurement: Measurement, model: Measured) -> str:
    binary = measurement.task == "binary"
    predictions = model.examples.predictions
    shown = []
    for place, (row, reason) in enumerate(model.example_rows):
        score = number(float(predictions[place]), 4)
        observed = f"{model.example_targets[place]:.6g}"
        shown.append(
            f"<details{' open' if place == 0 else ''}><summary><span>row {row + 1:,}</span><span>{reason}</span>"
            f"<span>predicted {score}</span><span>observed {observed}</span></summary>"
            f"{terms(model.examples.terms(place, top=N_ROW_TERMS))}"
            f"<p class=values>{_values(model, place)}</p></details>"
        )
    unit = "logits; the probability is their sum through the logistic function" if binary else "units of the target"
    reading = (
        f"Read it: each bar is one term, and all terms of a row add up to its score (in {unit}). Bars to the right "
        "raise the score, to the left lower it; the last bars are the sums of all smaller terms. Click or tap "
        "a row to open it."
    )
    return (
        f"<figure><figcaption><h3>Example rows</h3><p>{escaped(reading, length=600)}</p></figcaption>"
        f'<div class="rows">{"".join(shown)}</div></figure>'
    )


def _values(model: Measured, place: int) -> str:
    """All values of an example row."""
    named = zip(model.examples.field_names, model.examples.values, strict=True)
    return ", ".join(f"{escaped(name)}=<b>{escaped(values[place])}</b>" for name, values in named)


def _loss(model: Measured) -> str:
    return "logloss" if model.artifact.model.settings.task == "binary" else "squared error"


def _unit(model: Measured) -> str:
    return "logits" if model.artifact.model.settings.task == "binary" else "units of the target"


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _titled(title: str, model: Measured, models: Sequence[Measured]) -> str:
    return title if len(models) == 1 else f"{title}: {model.name}"


def _by_model(measurement: Measurement, made: Callable[[int, Measured], str]) -> str:
    return "".join(
        f'<div class="of-model" data-model="{index}">{made(index, model)}</div>'
        for index, model in enumerate(measurement.models)
    )
