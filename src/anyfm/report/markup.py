"""Pieces of the report's page: everything that comes from data or settings is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from anyfm.explain.contributions import BIAS, Term
from anyfm.report.charts import Figure

_LONGEST = 120
_PLOT_HEIGHT, _LINE_HEIGHT, _LINE_LENGTH = 340, 22, 70  # pixels, and letters of a caption's line in half a page
_GLYPHS = {"diamond": "◆", "circle": "○", "square": "■", "triangle-up": "△", "cross": "✚", "star": "☆"}


@dataclass(frozen=True)
class Part:
    """A figure element of the page, and about how many pixels high it is."""

    html: str
    height: int


def escaped(value: object, *, length: int = _LONGEST) -> str:
    """A text as it may stand anywhere in the page, quotes included; very long ones are cut."""
    plain = str(value)
    return html.escape(plain if len(plain) <= length else plain[: length - 1] + "…", quote=True)


def number(value: float, digits: int = 4, *, sign: bool = False) -> str:
    """A number for people, with a true minus."""
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


class Page:
    """Collects the figures while the fragments that show them are made."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def figure(
        self, key: str, title: str, reading: str, figure: Figure | None, *, empty: str = "", below: str = ""
    ) -> Part:
        """A figure with its title and the sentence that says how to read it.

        Parameters
        ----------
        key : str
            Its id in the page.
        title, reading : str
            Plain text, not from data.
        figure : Figure or None
            None shows the text `empty` instead.
        below : str
            HTML to stand below it.
        """
        head = f"<figcaption><h3>{escaped(title)}</h3><p>{escaped(reading, length=1000)}</p></figcaption>"
        height = 70 + _LINE_HEIGHT * -(-len(reading) // _LINE_LENGTH)
        if figure is None:
            shown = f'<p class="empty">{escaped(empty, length=300)}</p>'
            return Part(f"<figure>{head}{shown}{below}</figure>", height + _LINE_HEIGHT)
        height += int(figure["layout"].get("height", _PLOT_HEIGHT)) + (_LINE_HEIGHT if below else 0)
        return Part(f"<figure>{head}{legend(figure)}{self.plot(key, figure)}{below}</figure>", height)

    def choice(self, key: str, title: str, reading: str, label: str, figures: Sequence[tuple[str, Figure]]) -> Part:
        """One of several figures, at least one, chosen from a list."""
        options = "".join(
            f'<option value="{escaped(key)}-{index}">{escaped(name)}</option>'
            for index, (name, _) in enumerate(figures)
        )
        for index, (_, figure) in enumerate(figures):
            self._figures[f"{key}-{index}"] = figure
        html_ = (
            f"<figure><figcaption><h3>{escaped(title)}</h3><p>{escaped(reading, length=1000)}</p></figcaption>"
            f'<label class="choose">{escaped(label)} <select data-for="{escaped(key)}">{options}</select></label>'
            f'<div class="wide"><div class="plot" id="{escaped(key)}" data-figure="{escaped(key)}-0"></div></div>'
            "</figure>"
        )
        return Part(html_, 140 + int(figures[0][1]["layout"].get("height", _PLOT_HEIGHT)))

    def plot(self, key: str, figure: Figure) -> str:
        """The place where a figure is drawn."""
        self._figures[key] = figure
        width = f' style="min-width:{int(figure["min_width"])}px"' if "min_width" in figure else ""
        plot = f'<div class="plot" id="{escaped(key)}" data-figure="{escaped(key)}"{width}></div>'
        return f'<div class="wide">{plot}</div>'

    def figures_json(self) -> str:
        """All figures as JSON that can stand inside a script element."""
        return json_in_script(self._figures)


def columns(parts: Sequence[Part]) -> str:
    """The parts in two columns of about one height, or on a narrow screen in one, in their order."""
    if len(parts) == 1:
        return f'<div class="grid one">{parts[0].html}</div>'
    sides: tuple[list[str], list[str]] = ([], [])
    heights = [0, 0]
    for place, part in enumerate(parts):
        side = 0 if heights[0] <= heights[1] else 1
        heights[side] += part.height
        sides[side].append(part.html.replace("<figure>", f'<figure style="order:{place}">', 1))
    return '<div class="grid">{}</div>'.format("".join(f'<div class="column">{"".join(side)}</div>' for side in sides))


def json_in_script(value: Any) -> str:
    """JSON without a character that could end a script element or begin a comment."""
    plain = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def legend(figure: Figure) -> str:
    """Names and colours of a figure's traces, where there are several; plotly's own would cover narrow figures."""
    named = [trace for trace in figure["data"] if trace.get("name")]
    if named and named[0].get("type") == "bar" and named[0].get("orientation") == "h":
        named.reverse()  # as they stand in the figure, from above
    if len(named) < 2:
        return ""
    items = []
    for trace in named:
        line = trace.get("line", {})
        colour = line.get("color") or trace.get("marker", {}).get("color")
        if trace.get("mode") == "markers":
            symbol = trace["marker"]["symbol"]
            glyph = _GLYPHS[(symbol if isinstance(symbol, str) else symbol[0]).removesuffix("-open")]
            swatch = f'<b style="color:{escaped(colour)}">{glyph}</b>'
        else:
            style = {"solid": "solid", "dot": "dotted"}.get(line.get("dash", "solid"), "dashed")
            width = max(2, int(line.get("width", 6)))
            swatch = f'<i style="border-top:{width}px {style} {escaped(colour)}"></i>'
        items.append(f"<li>{swatch}{trace['name']}</li>")  # the name is escaped already, as plotly wants it
    return f'<ul class="legend">{"".join(items)}</ul>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = (), scrolls: bool = False
) -> str:
    """A table of cells that are HTML already; columns in `numeric` are aligned to the right.

    One that `scrolls` says so on a narrow screen, and leaves out the small print of its first column there.
    """
    right = set(numeric)

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if place in right else ''}>{cell}</{tag}>" for place, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    shown = f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide{" scrolls" if scrolls else ""}">{shown}</div>'


def terms(of_row: Sequence[Term]) -> str:
    """The terms of one row as bars from a middle line: to the right they raise the score, to the left lower it."""
    largest = max((abs(term.contribution) for term in of_row if term.kind != BIAS), default=0.0) or 1.0
    lines = []
    for term in of_row:
        share = 50.0 * abs(term.contribution) / largest
        side = "up" if term.contribution >= 0 else "down"
        # The bias is the same for every row: its bar would only make the others small.
        bar = "" if term.kind == BIAS else f'<b class="{side}" style="width:{share:.1f}%"></b>'
        name = "bias, where every row starts" if term.kind == BIAS else term.name
        lines.append(
            f'<li><span class="name">{escaped(name)}{_attention(term)}</span><span class="track">{bar}</span>'
            f'<span class="number">{number(term.contribution, 3, sign=True)}</span></li>'
        )
    return f'<ul class="terms">{"".join(lines)}</ul>'


def _attention(term: Term) -> str:
    if term.attention is None or term.weighed is None:
        return ""
    return f" <small>attention {number(term.attention, 3)} of {number(term.weighed, 3, sign=True)}</small>"
