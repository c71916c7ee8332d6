"""The figures of the report as plotly specifications: plain dicts of traces and layout, ready for JSON.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers can tell apart, a little
changed so that they are readable on white and on black; lines differ in their dashes as well. Fonts, grid and
background come from the page, which knows whether it is light or dark.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyfm.explain.forms import Doubles
from anyfm.explain.measured import Measured, Measurement

Figure = dict[str, Any]

COLOURS = ("#3b8bd0", "#e08a00", "#00a37a", "#cc79a7", "#d55e00", "#8a8a8a")
SYMBOLS = ("diamond", "circle-open", "square", "triangle-up-open", "cross", "star-open")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
POSITIVE, NEGATIVE, NEUTRAL = COLOURS[0], COLOURS[4], COLOURS[5]
SCALE = "Cividis"
N_BARS = 20
MAX_HEAT_FIELDS = 40
_LABEL_LENGTH = 30


def text(value: object, *, length: int = _LABEL_LENGTH) -> str:
    """A text for plotly, which reads a subset of HTML: shortened in the middle, then escaped."""
    plain = str(value)
    if len(plain) > length:
        plain = f"{plain[: length - length // 3 - 1]}…{plain[-(length // 3) :]}"
    return html.escape(plain, quote=False)


def numbers(values: Any, digits: int = 6) -> list[float | None]:
    """Numbers for JSON: rounded to so many significant digits, None for what is no number."""
    return [None if not np.isfinite(v) else float(f"{v:.{digits}g}") for v in np.asarray(values, np.float64).tolist()]


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **more}


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
    what = "logloss" if models[0].artifact.model.config.task == "binary" else "squared error"
    return {
        "data": traces,
        "layout": {"xaxis": _axis("epoch", rangemode="tozero"), "yaxis": _axis(f"mean {what}", **_loss_range(traces))},
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
    return {"data": traces, "layout": {"xaxis": _axis(x_title, **axes), "yaxis": _axis(y_title, **axes)}}


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
        "xaxis": _axis("share of rows taken, best scores first", range=[0, 1.02], tickformat=".0%"),
        "yaxis": _axis("lift", rangemode="tozero"),
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
        "layout": {"xaxis": _axis(f"predicted {what}"), "yaxis": _axis("observed mean")},
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
    binary = model.artifact.model.config.task == "binary"
    title = "predicted probability" if binary else "predicted minus observed"
    layout = {
        "barmode": "overlay",
        "bargap": 0.02,
        "xaxis": _axis(title),
        "yaxis": _axis("share of rows" + (" of the class" if binary else ""), tickformat=".0%"),
    }
    return {"data": traces, "layout": layout}


# --- bars and heat maps --------------------------------------------------------------------------------------------


def bars(
    labels: Sequence[str],
    series: Sequence[tuple[str, Doubles]],
    title: str,
    *,
    percent: bool = False,
    deviation: Doubles | None = None,
) -> Figure:
    """Horizontal bars, the first on top; several series side by side; whiskers of one standard `deviation`."""
    places = list(range(len(labels)))[::-1]
    form = ".1%" if percent else ".4f"
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": places,
            "x": numbers(values),
            "customdata": [text(label, length=80) for label in labels],
            "name": name,
            "marker": {"color": COLOURS[index], "pattern": {"shape": "/" if index else "", "solidity": 0.4}},
            "hovertemplate": f"%{{customdata}}<br>{name} %{{x:{form}}}<extra></extra>",
        }
        for index, (name, values) in enumerate(series)
    ]
    if deviation is not None:
        whiskers = {"type": "data", "array": numbers(deviation), "thickness": 1.5, "width": 3, "color": NEUTRAL}
        traces[0]["error_x"] = whiskers
    return {
        "data": traces[::-1],  # plotly stacks a group from below
        "layout": {
            "xaxis": _axis(title, **({"tickformat": ".2~p"} if percent else {})),
            "yaxis": _labels(labels, places),
            "height": max(170, 90 + len(labels) * (14 + 8 * len(series))),
            "barmode": "group",
            "bargap": 0.25,
        },
    }


def dots(
    labels: Sequence[str],
    series: Sequence[tuple[str, Doubles, Doubles | None, Doubles | None]],
    title: str,
    *,
    line_at: float,
    details: Sequence[str] = (),
    lines: int = 1,
    hollow: Sequence[bool] = (),
) -> Figure:
    """Dots with intervals, the first on top: (name, value, lower, upper) for each series; a line to compare with.

    Labels have so many `lines`, with a line feed between them. `hollow` says which dots of the first series are.
    """
    places = list(range(len(labels)))[::-1]
    traces = []
    for index, (name, values, lower, upper) in enumerate(series):
        trace: dict[str, Any] = {
            "y": places,
            "x": numbers(values),
            "mode": "markers",
            "name": name,
            "marker": {
                "color": COLOURS[index % len(COLOURS)],
                "size": 9,
                "symbol": [f"{SYMBOLS[0]}{'-open' if empty else ''}" for empty in hollow]
                if hollow and index == 0
                else SYMBOLS[index % len(SYMBOLS)],
            },
            "customdata": [
                f"{text(label.replace(chr(10), ' '), length=120)}{f'<br>{detail}' if detail else ''}"
                for label, detail in zip(labels, details or [""] * len(labels), strict=True)
            ],
            "hovertemplate": f"%{{customdata}}<br>{name} %{{x:.4f}}<extra></extra>",
        }
        if lower is not None and upper is not None:
            trace["error_x"] = {
                "type": "data",
                "symmetric": False,
                "array": numbers(upper - values),
                "arrayminus": numbers(values - lower),
                "thickness": 1.5,
                "width": 3,
            }
        traces.append(trace)
    layout = {
        "xaxis": _axis(title),
        "yaxis": _labels(labels, places),
        "height": max(170, 90 + (12 + 14 * lines) * len(labels)),
        "shapes": [
            {
                "type": "line",
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "x0": line_at,
                "x1": line_at,
                "line": {"color": NEUTRAL, "width": 1, "dash": "dash"},
            }
        ],
    }
    return {"data": traces, "layout": layout}


def _labels(labels: Sequence[str], places: Sequence[int]) -> dict[str, Any]:
    return {
        "tickmode": "array",
        "tickvals": list(places),
        "ticktext": ["<br>".join(text(line) for line in label.split("\n")) for label in labels],
        "range": [-0.7, len(labels) - 0.3],
        "showgrid": False,
        "zeroline": False,
    }


def heat_map(names: Sequence[str], square: Doubles, order: Doubles, what: str) -> Figure:
    """A number for each pair of fields; the fields with the largest `order` first, at most 40."""
    chosen = np.argsort(-order, kind="stable")[:MAX_HEAT_FIELDS]
    values = square[np.ix_(chosen, chosen)]
    labels = [text(names[field], length=18) for field in chosen]
    places = list(range(len(chosen)))
    hover = [[f"{text(names[i])} × {text(names[j])}" for j in chosen] for i in chosen]
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": labels, "showgrid": False, "zeroline": False}
    trace = {
        "type": "heatmap",
        "z": [numbers(row, 4) for row in values],
        "x": places,
        "y": places,
        "customdata": hover,
        "colorscale": SCALE,
        "zmin": 0,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 0.9},
        "hovertemplate": f"%{{customdata}}<br>{what} %{{z:.4f}}<extra></extra>",
    }
    size = max(320, 110 + 22 * len(chosen))
    layout = {
        "xaxis": {**ticks, "tickangle": -60 if len(chosen) <= 12 else -90, "side": "bottom"},
        "yaxis": {**ticks, "autorange": "reversed"},
        "height": size,
    }
    return {"data": [trace], "layout": layout, "min_width": 90 + 14 * len(chosen)}


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
            "xaxis": _axis("effect on the mean score"),
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
