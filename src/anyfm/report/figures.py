"""The figures of the report as plotly specifications (see `charts`), by the key under which the templates show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from anyfm.explain.partial_dependence import PartialDependence
from anyfm.explain.value_pairs import ValuePair
from anyfm.models.pairs import Doubles
from anyfm.report import charts
from anyfm.report.charts import COLORS, N_BARS, NEGATIVE, POSITIVE, Figure, axis, numbers, text
from anyfm.report.evaluation import ErrorsByValue
from anyfm.report.measurement import MeasuredModel, Measurement


def figures_of(measurement: Measurement) -> dict[str, Figure]:
    """All figures. A key is absent where there is nothing to draw; keys of one model end in its number from 0."""
    models = measurement.models
    found = {
        "learning": _learning_curves(measurement),
        "roc": _curves(models, "roc", "false positive rate", "true positive rate"),
        "pr": _curves(models, "pr", "recall", "precision"),
        "gain": _curves(models, "gain", "fraction of rows", "fraction of positives"),
        "lift": _lift(models),
        "calibration": _calibration(measurement),
        "compared": _importance_by_model(measurement),
    }
    for index, model in enumerate(models):
        found |= {f"{key}-{index}": figure for key, figure in _of_model(measurement, model)}
    return {key: figure for key, figure in found.items() if figure is not None}


def _of_model(measurement: Measurement, model: MeasuredModel) -> Iterator[tuple[str, Figure | None]]:
    summary, errors, loss = model.summary, model.errors, measurement.loss_name
    strengths, names, unit = summary.strengths, summary.field_names, f"in {measurement.unit}"
    yield "scores", _histogram(measurement, model)
    if len(strengths.field_pairs):
        interaction = strengths.matrix(summary.interaction)
        total = summary.main + np.nansum(interaction, axis=1)
        yield "heat", charts.heat_map(names, interaction, total, "interaction strength")
        if summary.field_pair_weights is not None:
            yield "weights", charts.heat_map(names, summary.field_pair_weights, total, "weight")
        if strengths.attention is not None:
            yield "attention", charts.heat_map(names, strengths.matrix(strengths.attention), total, "attention")
        yield "pairs", _pairs(model, unit)
    increase = model.importance.increase
    order = np.argsort(-increase, kind="stable")[:N_BARS]
    increases = [("increase", increase[order])]
    deviation = model.importance.deviation[order]
    yield "fields", charts.bars([names[i] for i in order], increases, f"increase of {loss}", deviation=deviation)
    if summary.mlp_absolute is not None:
        order = np.argsort(-summary.main, kind="stable")[:N_BARS]
        series = [("linear and pair terms", strengths.main[order]), ("MLP", summary.mlp_absolute[order])]
        yield "parts", charts.bars([names[i] for i in order], series, unit)
    if summary.values:
        yield "values", _value_pairs(summary.values, "pair terms" if summary.total is not None else "model")
    for number, effect in enumerate(model.effects):
        yield f"effect-{number}", _partial_dependence(effect)
    if errors.names:
        worst = np.argsort(errors.loss_margin - errors.loss, kind="stable")[:N_BARS]
        yield "worst", _errors(errors, worst, loss, errors.loss, errors.loss_margin, errors.mean_loss)
        biased = np.argsort(errors.bias_margin - np.abs(errors.bias), kind="stable")[:N_BARS]
        yield "biased", _errors(errors, biased, "observed − predicted", errors.bias, errors.bias_margin, 0.0)
    yield "unknown", _unknown_values(model)


def _learning_curves(measurement: Measurement) -> Figure | None:
    """Loss by epoch: training thin, validation thick, the best epoch marked."""
    task = measurement.task
    valid_key = f"valid_{task.loss_metric}"
    traces: list[dict[str, Any]] = []
    losses: dict[str, list[float]] = {"training": [], "validation": []}
    for index, model in enumerate(measurement.models):
        records = model.artifact.history.get("records", [])
        color, name = COLORS[index % len(COLORS)], text(model.name)
        epochs = [record["epoch"] for record in records]
        for what, key, width in (("training", "train_loss", 1), ("validation", valid_key, 3)):
            if not records or key not in records[0]:
                continue
            power = task.loss_metric_power if key == valid_key else 1
            values = numbers([record[key] ** power for record in records])
            losses[what] += [value for value in values if value is not None]
            traces.append(
                {
                    "x": epochs,
                    "y": values,
                    "mode": "lines+markers" if len(epochs) < 3 else "lines",
                    "line": {"color": color, "width": width, "dash": "dot" if what == "training" else "solid"},
                    "name": f"{name}, {what}",
                    "hovertemplate": f"{name}, {what}<br>epoch %{{x}}: %{{y:.4f}}<extra></extra>",
                }
            )
        best = int(model.artifact.history.get("best_epoch", 0))
        if 1 <= best <= len(epochs):
            traces.append(
                {
                    "x": [best],
                    "y": [traces[-1]["y"][best - 1]],
                    "mode": "markers",
                    "marker": {"color": color, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
                    "hovertemplate": f"{name}: best epoch %{{x}}, %{{y:.4f}}<extra></extra>",
                }
            )
    if not traces:
        return None
    y_axis = axis(f"mean {measurement.loss_name}", **_loss_range(losses["training"], losses["validation"]))
    return {"data": traces, "layout": {"xaxis": axis("epoch", rangemode="tozero"), "yaxis": y_axis}}


def _loss_range(training: list[float], validation: list[float]) -> dict[str, Any]:
    """A range that shows differences in validation; the first training losses may lie above it."""
    if not validation or max(training + validation) == min(training + validation):
        return {}
    low, high = min(training + validation), max(validation)
    margin = max(0.08 * (high - low), 0.3 * (high - min(validation)))
    top = min(high + margin, max(training + validation) + 0.5 * margin)
    return {"range": [float(f"{low - 0.5 * margin:.6g}"), float(f"{top:.6g}")]}


def _curves(models: Sequence[MeasuredModel], kind: str, x_title: str, y_title: str) -> Figure | None:
    """One curve a model: roc, pr or gain."""
    curves = [(index, model, model.curves[kind]) for index, model in enumerate(models) if kind in model.curves]
    if not curves:
        return None
    hover = f"{x_title} %{{x:.3f}}<br>{y_title} %{{y:.3f}}{'<br>lift %{customdata:.2f}' if kind == 'gain' else ''}"
    traces = []
    for index, model, curve in curves:
        lift = np.divide(curve.y, curve.x, out=np.ones_like(curve.x), where=curve.x > 0)
        line = _line(index, model, numbers(curve.x, 4), numbers(curve.y, 4), hover)
        traces.append({**line, "customdata": numbers(lift, 4)} if kind == "gain" else line)
    axes = {"range": [0, 1.02], "constrain": "domain"}
    guessing = [] if kind == "pr" else [charts.reference_line([0, 1], [0, 1])]
    return {"data": [*guessing, *traces], "layout": {"xaxis": axis(x_title, **axes), "yaxis": axis(y_title, **axes)}}


def _lift(models: Sequence[MeasuredModel]) -> Figure | None:
    """Lift by the fraction of rows taken."""
    x = np.linspace(0.01, 1.0, 100)
    gains = [(index, model, model.curves["gain"]) for index, model in enumerate(models) if "gain" in model.curves]
    traces = [
        _line(index, model, numbers(x, 4), numbers(np.interp(x, gain.x, gain.y) / x, 4), "top %{x:.0%}: lift %{y:.2f}")
        for index, model, gain in gains
    ]
    if not traces:
        return None
    layout = {
        "xaxis": axis("fraction of rows, highest scores first", range=[0, 1.02], tickformat=".0%"),
        "yaxis": axis("lift", rangemode="tozero"),
    }
    return {"data": [charts.reference_line([0, 1], [1, 1]), *traces], "layout": layout}


def _calibration(measurement: Measurement) -> Figure:
    """Mean observed by mean predicted, with confidence intervals."""
    tables = [model.calibration for model in measurement.models]
    hover = "predicted %{x:.3f}<br>observed %{y:.3f}<br>%{customdata:,} rows"
    traces = [
        {
            **_line(index, model, numbers(table.mean_predicted), numbers(table.mean_observed), hover),
            "mode": "lines+markers",
            "marker": {"size": 6},
            "customdata": table.n_rows.tolist(),
            "error_y": charts.whiskers(
                table.upper - table.mean_observed, table.mean_observed - table.lower, thickness=1
            ),
        }
        for index, (model, table) in enumerate(zip(measurement.models, tables, strict=True))
    ]
    means = np.concatenate([array for table in tables for array in (table.mean_predicted, table.mean_observed)])
    ends = [float(means.min()), float(means.max())]
    what = "probability" if measurement.task.is_classification else text(measurement.target)
    return {
        "data": [charts.reference_line(ends, ends), *traces],
        "layout": {"xaxis": axis(f"predicted {what}"), "yaxis": axis("observed mean")},
    }


def _line(index: int, model: MeasuredModel, x: Any, y: Any, hover: str) -> dict[str, Any]:
    """A line of one model; `hover` is what its points show."""
    name = text(model.name)
    hover = f"{name}<br>{hover}<extra></extra>"
    return {"x": x, "y": y, "mode": "lines", "line": charts.line(index), "name": name, "hovertemplate": hover}


def _histogram(measurement: Measurement, model: MeasuredModel) -> Figure:
    """The scores of each class, or the errors of a regression."""
    is_classification = measurement.task.is_classification
    edges = model.histogram.edges
    traces = []
    for name, fractions in model.histogram.fractions.items():
        is_negative = name.startswith("negative")
        pattern = {"shape": "/" if is_negative else "", "solidity": 0.5}
        traces.append(
            {
                "type": "bar",
                "x": numbers(0.5 * (edges[1:] + edges[:-1])),
                "y": numbers(fractions),
                "name": name,
                "marker": {"color": NEGATIVE if is_negative else POSITIVE, "pattern": pattern},
                "opacity": 0.65,
                "hovertemplate": f"{name}<br>%{{x:.3f}}: %{{y:.1%}} of them<extra></extra>",
            }
        )
    layout = {
        "barmode": "overlay",
        "bargap": 0.02,
        "xaxis": axis("predicted probability" if is_classification else "predicted minus observed"),
        "yaxis": axis(f"fraction of rows{' of the class' if is_classification else ''}", tickformat=".0%"),
    }
    return {"data": traces, "layout": layout}


def _importance_by_model(measurement: Measurement) -> Figure | None:
    """The permutation importance of every field in every model, where there are several models."""
    models = measurement.models
    if len(models) < 2:
        return None
    fields = list(dict.fromkeys(field for model in models for field in model.importance.fields))
    of_models = [dict(zip(model.importance.fields, model.importance.increase, strict=True)) for model in models]
    increases = np.array([[of.get(field, np.nan) for field in fields] for of in of_models])
    order = np.argsort(-np.nanmax(increases, axis=0), kind="stable")[:N_BARS]
    return charts.dots(
        [fields[place] for place in order],
        [(text(model.name), increases[i, order], None, None) for i, model in enumerate(models)],
        f"increase of {measurement.loss_name}",
        line_at=0.0,
    )


def _pairs(model: MeasuredModel, unit: str) -> Figure:
    """The strongest pairs of fields."""
    summary, strengths = model.summary, model.summary.strengths
    order = np.argsort(-np.nan_to_num(summary.interaction, nan=-np.inf), kind="stable")[:N_BARS]
    first, second = strengths.field_pairs.first[order], strengths.field_pairs.second[order]
    labels = [f"{summary.field_names[i]} × {summary.field_names[j]}" for i, j in zip(first, second, strict=True)]
    other = ("mean absolute contribution", strengths.pair_absolute[order])
    if summary.total is not None:
        other = ("pair terms alone", strengths.interaction[order])
    return charts.bars(labels, [("interaction strength", summary.interaction[order]), other], unit)


def _value_pairs(pairs: list[ValuePair], source: str) -> Figure:
    """The strongest pairs of values with the effect that their rows show."""

    def numbers_of(name: str) -> Doubles:
        return np.array([getattr(pair, name) for pair in pairs], np.float64)  # None becomes NaN

    def one_line(name: str) -> str:
        return " ".join(name.split())

    labels = [
        f"{one_line(f'{pair.field}={pair.value}')}\n× {one_line(f'{pair.other_field}={pair.other_value}')}"
        for pair in pairs
    ]
    observed = ("observed", numbers_of("observed"), numbers_of("lower"), numbers_of("upper"))
    return charts.dots(
        labels,
        [(source, numbers_of("interaction"), None, None), observed],
        "interaction",
        line_at=0.0,
        details=[f"{pair.n_rows:,} rows" for pair in pairs],
        hollow=[not pair.has_same_sign for pair in pairs],
    )


def _partial_dependence(effect: PartialDependence) -> Figure:
    places = list(range(len(effect.values)))
    counts = ["" if not np.isfinite(count) else f"<br>{count:,.0f} training rows" for count in effect.count]
    step = max(1, len(places) // 40)
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": places,
        "x": numbers(effect.effect),
        "marker": {"color": [POSITIVE if value >= 0 else NEGATIVE for value in effect.effect.tolist()]},
        "customdata": [f"{text(value, length=80)}{count}" for value, count in zip(effect.values, counts, strict=True)],
        "hovertemplate": "%{customdata}<br>change %{x:+.3f}<extra></extra>",
    }
    y_axis = {
        "tickmode": "array",
        "tickvals": places[::step],
        "ticktext": [text(value, length=24) for value in effect.values[::step]],
        "autorange": "reversed",
        "showgrid": False,
        "zeroline": False,
    }
    height = max(170, 100 + 17 * len(places))
    layout = {"xaxis": axis("change of the mean logit"), "yaxis": y_axis, "height": height, "bargap": 0.2}
    return {"data": [trace], "layout": layout}


def _errors(
    errors: ErrorsByValue, chosen: Any, title: str, values: Doubles, margin: Doubles, reference: float
) -> Figure:
    center, half = values[chosen], margin[chosen]
    return charts.dots(
        [errors.names[i] for i in chosen],
        [(title, center, center - half, center + half)],
        title,
        line_at=reference,
        details=[
            f"{errors.n_rows[i]:,} rows<br>predicted {errors.predicted[i]:.4f}, observed {errors.observed[i]:.4f}"
            for i in chosen
        ],
    )


def _unknown_values(model: MeasuredModel) -> Figure | None:
    """The fractions of unseen and of missing values of each field that has some."""
    fields = [field for field in model.encoding.fields if field.n_unseen or field.n_missing]
    fields = sorted(fields, key=lambda field: -(field.n_unseen + field.n_missing))[:N_BARS]
    if not fields:
        return None
    n_entries = np.array([max(field.n_entries, 1) for field in fields], np.float64)
    series = [
        ("unseen", np.array([field.n_unseen for field in fields]) / n_entries),
        ("missing", np.array([field.n_missing for field in fields]) / n_entries),
    ]
    return charts.bars([field.name for field in fields], series, "fraction of values", percent=True)
