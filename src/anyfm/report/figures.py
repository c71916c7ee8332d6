"""The figures of the report: what was measured of models as plotly specifications (see `charts`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyfm.report.charts import COLOURS, DASHES, NEGATIVE, NEUTRAL, POSITIVE, Figure, axis, numbers, text
from anyfm.report.measured import Measured, Measurement


def _line(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "dash": DASHES[index % len(DASHES)], "width": 2}


def _diagonal(x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {
        "x": list(x),
        "y": list(y),
        "mode": "lines",
        "line": {"color": NEUTRAL, "width": 1},
        "hoverinfo": "skip",
    }


# --- how good ------------------------------------------------------------------------------------------------------


def learning_curves(models: Sequence[Measured]) -> Figure | None:
    """Loss by epoch: training thin, validation thick, the best epoch marked."""
    traces: list[dict[str, Any]] = []
    for index, model in enumerate(models):
        history = model.artifact.history
        records = list(history.get("records", []))
        if not records:
            continue
        epochs = [record["epoch"] for record in records]
        name = text(model.name)
        colour = COLOURS[index % len(COLOURS)]
        for key, what, width in (("train_loss", "training", 1), (_valid_loss(records), "validation", 3)):
            if key is None:
                continue
            traces.append(
                {
                    "x": epochs,
                    "y": numbers([record[key] ** (2 if key == "valid_rmse" else 1) for record in records]),
                    "mode": "lines+markers" if len(epochs) < 3 else "lines",
                    "line": {"color": colour, "width": width, "dash": "dot" if what == "training" else "solid"},
                    "name": f"{name}, {what}",
                    "hovertemplate": f"{name}, {what}<br>epoch %{{x}}: %{{y:.4f}}<extra></extra>",
                }
            )
        best = int(history.get("best_epoch", 0))
        if traces and 1 <= best <= len(epochs):
            traces.append(
                {
                    "x": [best],
                    "y": [traces[-1]["y"][best - 1]],
                    "mode": "markers",
                    "marker": {"color": colour, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
                    "hovertemplate": f"{name}: best epoch %{{x}}, %{{y:.4f}}<extra></extra>",
                }
            )
    if not traces:
        return None
    what = "logloss" if models[0].artifact.model.settings.task == "binary" else "squared error"
    return {
        "data": traces,
        "layout": {"xaxis": axis("epoch", rangemode="tozero"), "yaxis": axis(f"mean {what}", **_loss_range(traces))},
    }


def _loss_range(traces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A range in which validation can be told apart: the first training losses may lie above it."""
    every = [value for trace in traces for value in trace["y"] if value is not None]
    held_out = [value for trace in traces if str(trace.get("name", "")).endswith("validation") for value in trace["y"]]
    if not held_out or max(every) == min(every):
        return {}
    low, high = min(every), max(held_out)
    room = max(0.08 * (high - low), 0.3 * (max(held_out) - min(held_out)))
    return {"range": [float(f"{low - 0.5 * room:.6g}"), float(f"{min(high + room, max(every) + 0.5 * room):.6g}")]}


def _valid_loss(records: list[Any]) -> str | None:
    return next((key for key in ("valid_logloss", "valid_rmse") if key in records[0]), None)


def curves(models: Sequence[Measured], kind: str, x_title: str, y_title: str) -> Figure | None:
    """One curve a model: roc, pr or gain."""
    drawn = [(index, model) for index, model in enumerate(models) if kind in model.curves]
    if not drawn:
        return None
    traces = [] if kind == "pr" else [_diagonal([0, 1], [0, 1])]
    for index, model in drawn:
        curve, name = model.curves[kind], text(model.name)
        lift = "<br>lift %{customdata:.2f}" if kind == "gain" else ""
        traces.append(
            {
                "x": numbers(curve.x, 4),
                "y": numbers(curve.y, 4),
                "customdata": numbers(np.divide(curve.y, curve.x, out=np.ones_like(curve.x), where=curve.x > 0), 4),
                "mode": "lines",
                "line": _line(index),
                "name": name,
                "hovertemplate": f"{name}<br>{x_title} %{{x:.3f}}<br>{y_title} %{{y:.3f}}{lift}<extra></extra>",
            }
        )
    axes = {"range": [0, 1.02], "constrain": "domain"}
    return {"data": traces, "layout": {"xaxis": axis(x_title, **axes), "yaxis": axis(y_title, **axes)}}


def lift(models: Sequence[Measured]) -> Figure | None:
    """Lift by share of rows taken."""
    drawn = [(index, model) for index, model in enumerate(models) if "gain" in model.curves]
    if not drawn:
        return None
    traces = [_diagonal([0, 1], [1, 1])]
    for index, model in drawn:
        curve, name = model.curves["gain"], text(model.name)
        shares = np.linspace(0.01, 1.0, 100)
        taken = np.interp(shares, curve.x, curve.y)
        traces.append(
            {
                "x": numbers(shares, 4),
                "y": numbers(taken / shares, 4),
                "mode": "lines",
                "line": _line(index),
                "name": name,
                "hovertemplate": f"{name}<br>best %{{x:.0%}} of rows: %{{y:.2f}} times the average<extra></extra>",
            }
        )
    layout = {
        "xaxis": axis("share of rows taken, best scores first", range=[0, 1.02], tickformat=".0%"),
        "yaxis": axis("lift", rangemode="tozero"),
    }
    return {"data": traces, "layout": layout}


def calibration(measurement: Measurement) -> Figure:
    """Mean observed by mean predicted, with intervals."""
    traces: list[dict[str, Any]] = []
    ends: list[float] = []
    for index, model in enumerate(measurement.models):
        table, name = model.calibration, text(model.name)
        ends += [float(table.mean_predicted.min()), float(table.mean_predicted.max())]
        ends += [float(table.mean_observed.min()), float(table.mean_observed.max())]
        traces.append(
            {
                "x": numbers(table.mean_predicted),
                "y": numbers(table.mean_observed),
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": numbers(table.upper - table.mean_observed),
                    "arrayminus": numbers(table.mean_observed - table.lower),
                    "thickness": 1,
                    "width": 2,
                },
                "customdata": table.n_rows.tolist(),
                "mode": "lines+markers",
                "line": _line(index),
                "marker": {"size": 6},
                "name": name,
                "hovertemplate": f"{name}<br>predicted %{{x:.3f}}<br>observed %{{y:.3f}}<br>%{{customdata:,}} rows"
                "<extra></extra>",
            }
        )
    low, high = min(ends), max(ends)
    what = "probability" if measurement.task == "binary" else text(measurement.target)
    return {
        "data": [_diagonal([low, high], [low, high]), *traces],
        "layout": {"xaxis": axis(f"predicted {what}"), "yaxis": axis("observed mean")},
    }


def histograms(model: Measured) -> Figure:
    """The scores of each class, or the errors of a regression."""
    middles = 0.5 * (model.histogram.edges[1:] + model.histogram.edges[:-1])
    traces = [
        {
            "type": "bar",
            "x": numbers(middles),
            "y": numbers(shares),
            "name": name,
            "marker": {
                "color": NEGATIVE if name.startswith("negative") else POSITIVE,
                "pattern": {"shape": "/" if name.startswith("negative") else "", "solidity": 0.5},
            },
            "opacity": 0.65,
            "hovertemplate": f"{name}<br>%{{x:.3f}}: %{{y:.1%}} of them<extra></extra>",
        }
        for name, shares in model.histogram.shares.items()
    ]
    binary = model.artifact.model.settings.task == "binary"
    title = "predicted probability" if binary else "predicted minus observed"
    layout = {
        "barmode": "overlay",
        "bargap": 0.02,
        "xaxis": axis(title),
        "yaxis": axis("share of rows" + (" of the class" if binary else ""), tickformat=".0%"),
    }
    return {"data": traces, "layout": layout}


# --- what values do --------------------------------------------------------------------------------------------------


def partial_effects(model: Measured) -> list[tuple[str, Figure]]:
    """For each field, its name and the figure of its partial effect."""
    return [(effect.field, _partial_effect(effect)) for effect in model.effects]


def _partial_effect(effect: Any) -> Figure:
    places = list(range(len(effect.values)))
    labels = [text(value, length=24) for value in effect.values]
    counts = ["" if not np.isfinite(count) else f"<br>{count:,.0f} training rows" for count in effect.count]
    common = {
        "customdata": [f"{text(value, length=80)}{count}" for value, count in zip(effect.values, counts, strict=True)],
        "hovertemplate": "%{customdata}<br>effect %{x:+.3f}<extra></extra>",
    }
    step = max(1, len(places) // 40)
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": places,
                "x": numbers(effect.effect),
                "marker": {"color": [POSITIVE if value >= 0 else NEGATIVE for value in effect.effect.tolist()]},
                **common,
            }
        ],
        "layout": {
            "xaxis": axis("effect on the mean score"),
            "yaxis": {
                "tickmode": "array",
                "tickvals": places[::step],
                "ticktext": labels[::step],
                "autorange": "reversed",
                "showgrid": False,
                "zeroline": False,
            },
            "height": max(170, 100 + 17 * len(places)),
            "bargap": 0.2,
        },
    }
