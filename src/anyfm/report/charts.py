"""Bars, dots and heat maps as plotly specifications: plain dicts of traces and layout, ready for JSON.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers can tell apart, a little
changed so that they are readable on white and on black; lines differ in their dashes as well, and marks in their shape.
Fonts, grid and background come from the page, which knows whether it is light or dark.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyfm.models.pairs import Doubles

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


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **more}


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
            "xaxis": axis(title, **({"tickformat": ".2~p"} if percent else {})),
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
        "xaxis": axis(title),
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
        "zmax": float(np.nanmax(values, initial=0.0)) or 1.0,  # without it plotly takes no notice of zmin either
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
