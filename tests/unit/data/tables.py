"""Tables drawn at random for the property tests, with every kind of column the encoder knows."""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl
from hypothesis import strategies as st

words = st.sampled_from(
    ["a", "b", "b ", " a", "", "?", "NA", "3", "3.0", "03", "ä", "true", "x|y", "naïve\tword", "\x00", "1e3"]
)
texts = st.one_of(st.none(), words, st.text(st.characters(codec="utf-8"), max_size=4))
integers = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**62), 2**62))
floats = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e300, -2.0]), st.floats(allow_nan=True, allow_infinity=True)
)
moments = st.one_of(st.none(), st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2150, 1, 1)))
tag_lists = st.one_of(st.none(), st.lists(st.one_of(st.none(), words), max_size=4))
tag_texts = st.one_of(st.none(), st.lists(st.sampled_from(["a", "b", "c", "", " a ", "?"]), max_size=4).map("|".join))

COLUMNS: dict[str, tuple[Any, pl.DataType, dict[str, Any]]] = {
    "word": (texts, pl.String(), {"kind": "categorical"}),
    "code": (integers, pl.Int64(), {"kind": "categorical"}),
    "real": (floats, pl.Float64(), {"kind": "categorical"}),
    "count": (integers, pl.Int64(), {"kind": "numeric", "n_bins": 4}),
    "size": (floats, pl.Float64(), {"kind": "numeric", "n_bins": 3}),
    "tail": (floats, pl.Float64(), {"kind": "log"}),
    "flag": (st.one_of(st.none(), st.booleans()), pl.Boolean(), {"kind": "boolean"}),
    "when": (moments, pl.Datetime("us"), {"kind": "datetime", "n_bins": 4}),
    "seen": (moments, pl.Datetime("us"), {"kind": "datetime", "parts": ["hour", "weekday", "year", "quarter", "week"]}),
}
RAGGED: dict[str, tuple[Any, pl.DataType, dict[str, Any]]] = {
    "tags": (tag_lists, pl.List(pl.String()), {"kind": "tags"}),
    "genres": (tag_texts, pl.String(), {"kind": "tags", "separator": "|"}),
    "scaled": (st.one_of(st.none(), st.floats(-1e6, 1e6)), pl.Float64(), {"kind": "scaled"}),
}


@st.composite
def tables(draw: st.DrawFn, *, ragged: bool = True, min_rows: int = 1, max_rows: int = 10) -> pl.DataFrame:
    """A table of all kinds of columns; `scaled` has a number in its first row."""
    n = draw(st.integers(min_rows, max_rows))
    columns = {**COLUMNS, **RAGGED} if ragged else COLUMNS
    data = {}
    for name, (values, kind, _) in columns.items():
        drawn = draw(st.lists(values, min_size=n, max_size=n))
        if name == "scaled":
            drawn[0] = 1.5
        data[name] = pl.Series(name, drawn, kind)
    return pl.DataFrame(data)


def overrides(frame: pl.DataFrame) -> dict[str, Any]:
    """The kind of each column of such a table."""
    return {name: settings for name, (_, _, settings) in {**COLUMNS, **RAGGED}.items() if name in frame.columns}
