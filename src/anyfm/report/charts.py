"""Bars, dots, lines and heat maps as plotly specifications: plain dicts of traces and layout, ready for JSON.

Colors are those of Okabe and Ito ("Color Universal Design", 2008), which color-blind readers can distinguish, changed
a little to be readable on white and on black; lines differ in their dashes as well, and marks in their shape. Fonts,
grid and background are set by the page, which knows whether it is light or dark.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyfm.models.pairs import Doubles

Figure = dict[str, Any]

COLORS = ("#3b8bd0", "#e08a00", "#00a37a", "#cc79a7", "#d55e00", "#8a8a8a")
SYMBOLS = ("diamond", "circle-open", "square", "triangle-up-open", "cross", "star-open")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
POSITIVE, NEGATIVE, NEUTRAL = COLORS[0], COLORS[4], COLORS[5]
N_BARS = 20
MAX_HEAT_FIELDS = 40
_GLYPHS = {"diamond": "◆", "circle": "○", "square": "■", "triangle-up": "△", "cross": "✚", "star": "☆"}
_LABEL_LENGTH = 30


def text(value: object, *, length: int = _LABEL_LENGTH) -> str:
    """A text for plotly, which reads a subset of HTML: shortened in the middle, then escaped."""
    plain = str(value)
    if len(plain) > length:
        plain = f"{plain[: length - length // 3 - 1]}…{plain[-(length // 3) :]}"
    return html.escape(plain, quote=False)


def numbers(values: Any, digits: int = 6) -> list[float | None]:
    """Numbers for JSON: rounded to `digits` significant digits, None for what is not finite."""
    return [None if not np.isfinite(v) else float(f"{v:.{digits}g}") for v in np.asarray(values, np.float64).tolist()]


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **more}


def line(index: int) -> dict[str, Any]:
    return {"color": COLORS[index % len(COLORS)], "dash": DASHES[index % len(DASHES)], "width": 2}


def reference_line(x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    """A thin line to compare with."""
    return {"x": x, "y": y, "mode": "lines", "line": {"color": NEUTRAL, "width": 1}, "hoverinfo": "skip"}


def whiskers(upper: Any, lower: Any = None, **more: Any) -> dict[str, Any]:
    """Error bars up to `upper` above and `lower` below a value; without `lower`, `upper` on both sides."""
    sides = {} if lower is None else {"symmetric": False, "arrayminus": numbers(lower)}
    return {"type": "data", "array": numbers(upper), **sides, "thickness": 1.5, "width": 3, **more}


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
    number = ".1%" if percent else ".4f"
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": places,
            "x": numbers(values),
            "customdata": [text(label, length=80) for label in labels],
            "name": name,
            "marker": {"color": COLORS[index], "pattern": {"shape": "/" if index else "", "solidity": 0.4}},
            "hovertemplate": f"%{{customdata}}<br>{name} %{{x:{number}}}<extra></extra>",
        }
        for index, (name, values) in enumerate(series)
    ]
    if deviation is not None:
        traces[0]["error_x"] = whiskers(deviation, color=NEUTRAL)
    return {
        "data": traces[::-1],  # plotly stacks a group from below
        "layout": {
            "xaxis": axis(title, **({"tickformat": ".2~p"} if percent else {})),
            "yaxis": _label_axis(labels, places),
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
    details: Sequence[str] | None = None,
    hollow: Sequence[bool] | None = None,
) -> Figure:
    """Dots with intervals, the first on top: (name, value, lower, upper) for each series; a vertical line at `line_at`.

    Labels may have several lines. `details` are shown on hover; `hollow` says which dots of the first series are.
    """
    places = list(range(len(labels)))[::-1]
    hover = [text(label.replace("\n", " "), length=120) for label in labels]
    if details is not None:
        hover = [f"{label}<br>{detail}" for label, detail in zip(hover, details, strict=True)]
    traces = []
    for index, (name, values, lower, upper) in enumerate(series):
        symbol: Any = SYMBOLS[index % len(SYMBOLS)]
        if hollow is not None and index == 0:
            symbol = [f"{symbol}{'-open' if is_hollow else ''}" for is_hollow in hollow]
        trace: dict[str, Any] = {
            "y": places,
            "x": numbers(values),
            "mode": "markers",
            "name": name,
            "marker": {"color": COLORS[index % len(COLORS)], "size": 9, "symbol": symbol},
            "customdata": hover,
            "hovertemplate": f"%{{customdata}}<br>{name} %{{x:.4f}}<extra></extra>",
        }
        if lower is not None and upper is not None:
            trace["error_x"] = whiskers(upper - values, values - lower)
        traces.append(trace)
    n_lines = max((label.count("\n") + 1 for label in labels), default=1)
    vertical = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": line_at, "x1": line_at}
    layout = {
        "xaxis": axis(title),
        "yaxis": _label_axis(labels, places),
        "height": max(170, 90 + (12 + 14 * n_lines) * len(labels)),
        "shapes": [{**vertical, "line": {"color": NEUTRAL, "width": 1, "dash": "dash"}}],
    }
    return {"data": traces, "layout": layout}


def _label_axis(labels: Sequence[str], places: Sequence[int]) -> dict[str, Any]:
    return {
        "tickmode": "array",
        "tickvals": list(places),
        "ticktext": ["<br>".join(map(text, label.split("\n"))) for label in labels],
        "range": [-0.7, len(labels) - 0.3],
        "showgrid": False,
        "zeroline": False,
    }


def heat_map(names: Sequence[str], square: Doubles, order: Doubles, what: str) -> Figure:
    """A number for each pair of fields, the (at most 40) fields with the largest `order` first.

    The colors begin at 0, or are symmetric about 0 if there are negative numbers.
    """
    chosen = np.argsort(-order, kind="stable")[:MAX_HEAT_FIELDS]
    values = square[np.ix_(chosen, chosen)]
    places = list(range(len(chosen)))
    labels = [text(names[field], length=18) for field in chosen]
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": labels, "showgrid": False, "zeroline": False}
    largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    is_signed = bool((np.nan_to_num(values) < 0).any())
    trace = {
        "type": "heatmap",
        "z": [numbers(row, 4) for row in values],
        "x": places,
        "y": places,
        "customdata": [[f"{text(names[i])} × {text(names[j])}" for j in chosen] for i in chosen],
        "colorscale": "RdBu" if is_signed else "Cividis",
        "zmin": -largest if is_signed else 0,
        "zmax": largest,  # without it plotly ignores zmin too
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 0.9},
        "hovertemplate": f"%{{customdata}}<br>{what} %{{z:.4f}}<extra></extra>",
    }
    layout = {
        "xaxis": {**ticks, "tickangle": -60 if len(chosen) <= 12 else -90, "side": "bottom"},
        "yaxis": {**ticks, "autorange": "reversed"},
        "height": max(320, 110 + 22 * len(chosen)),
    }
    return {"data": [trace], "layout": layout, "min_width": 90 + 14 * len(chosen)}


@dataclass(frozen=True)
class LegendEntry:
    """A trace in a figure's legend: a glyph, or a line of some CSS style and width in pixels."""

    name: str
    color: str
    glyph: str = ""
    line_style: str = "solid"
    line_width: int = 6


def legend(figure: Figure) -> list[LegendEntry]:
    """The legend of a figure with several named traces; plotly's own would cover narrow figures."""
    named = [trace for trace in figure["data"] if trace.get("name")]
    if len(named) < 2:
        return []
    if named[0].get("orientation") == "h":
        named.reverse()  # from the top of the figure
    return [_legend_entry(trace) for trace in named]


def _legend_entry(trace: dict[str, Any]) -> LegendEntry:
    name, stroke, marker = html.unescape(trace["name"]), trace.get("line", {}), trace.get("marker", {})
    color = stroke.get("color") or marker.get("color")
    if trace.get("mode") == "markers":
        symbol = marker["symbol"] if isinstance(marker["symbol"], str) else marker["symbol"][0]
        return LegendEntry(name, color, glyph=_GLYPHS[symbol.removesuffix("-open")])
    style = {"solid": "solid", "dot": "dotted"}.get(stroke.get("dash", "solid"), "dashed")
    return LegendEntry(name, color, line_style=style, line_width=max(2, int(stroke.get("width", 6))))
