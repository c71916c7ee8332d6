"""Tables of mixed types that arrive in several ways must give the same ids.

`python -m tests.fuzz.fuzz_encoder MINUTES` looks for tables that do not; tests/unit/data/test_arrivals.py tries a few.
"""

from __future__ import annotations

import datetime
import io
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from anyfm.core.errors import AnyfmError
from anyfm.data.encoder import Encoder
from anyfm.data.readers import read_table
from anyfm.data.schema_inference import infer_schema

WORDS = [
    "a",
    "b",
    "é",
    "NA",
    "null",
    "None",
    "nan",
    "-",
    "?",
    "x y",
    "true",
    "False",
    "0",
    "1",
    "007",
    "7",
    "1.0",
    "1e3",
]
DAYS = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2035, 1, 1)).map(
    lambda t: t.replace(microsecond=0)
)
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=6)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "small integers": st.integers(-5, 20),
    "integers": st.integers(-(2**62), 2**62),
    "few large integers": st.sampled_from([2**53 + 1, 2**53 + 2, 2**60 + 1, -(2**60)]),
    "unsigned": st.integers(2**63, 2**64 - 1),
    "fractions": st.floats(-1e6, 1e6, allow_nan=False),
    # Floats of 2**53 and more are whole numbers, which pandas may turn into integers: those are codes.
    "floats": st.floats(-(2.0**52), 2.0**52, allow_nan=False),
    "whole floats": st.integers(-9, 30).map(float),
    "truth": st.booleans(),
    "words": st.sampled_from(WORDS),
    "text": PRINTABLE,
    "digits": st.integers(0, 99).map(str),
    "codes": st.integers(0, 99).map("{:03d}".format),
    "days": DAYS.map(lambda t: t.date()),
    "times": DAYS,
    "dates as text": DAYS.map(lambda t: t.strftime("%d.%m.%Y")),
    "times as text": DAYS.map(lambda t: t.strftime("%Y-%m-%d %H:%M")),
    "prices": st.integers(0, 999_999).map(lambda n: f"{n // 100},{n % 100:02d}"),
    "tags": st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=3, unique=True).map("|".join),
}

SAME = {"boolean": "categorical"}  # the words true and false are booleans in a file, and encoded alike
LARGE = ("integers", "few large integers", "unsigned")


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Up to five columns, each of one kind, some values missing; the last one is the target."""
    n = draw(st.integers(4, 40))
    columns = {}
    for name in draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True)):
        kind = draw(st.sampled_from(sorted(KINDS)))
        distinct = draw(st.lists(KINDS[kind], min_size=1, max_size=12, unique=True))
        values = draw(st.lists(st.sampled_from(distinct), min_size=n, max_size=n))
        # pandas and NumPy have no missing integers: they become floats, which lose digits before we see them.
        missing = [] if kind in LARGE else draw(st.lists(st.integers(0, n - 1), max_size=n // 3))
        for at in missing:
            values[at] = None
        columns[name] = pl.Series(name, values, dtype=pl.UInt64 if kind == "unsigned" else None)
    columns["y"] = pl.Series("y", [i % 2 for i in range(n)])
    return pl.DataFrame(columns)


def csv(table: pl.DataFrame) -> io.BytesIO:
    buffer = io.BytesIO()
    table.write_csv(buffer, datetime_format="%Y-%m-%d %H:%M:%S")
    return io.BytesIO(buffer.getvalue())


def pandas_objects(table: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(table[name].to_list(), dtype=object) for name in table.columns})


ARRIVALS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "pandas": lambda table: table.to_pandas(),
    "pandas nullable": lambda table: table.to_pandas().convert_dtypes(convert_floating=False),
    "pandas objects": pandas_objects,
    "pandas of Arrow": lambda table: table.to_pandas(use_pyarrow_extension_array=True),
    "Arrow": lambda table: table.to_arrow(),
    "mapping of lists": lambda table: table.to_dict(as_series=False),
    "mapping of arrays": lambda table: {name: table[name].to_numpy() for name in table.columns},
}


def check(table: pl.DataFrame, path: Any = None) -> bool:
    """Raise AssertionError where ids depend on how the table arrives; False for a table that cannot be used."""
    try:
        encoder = Encoder.fit(table, infer_schema(read_table(table), target="y", min_count=1))
    except AnyfmError:
        return False
    expected = encoder.encode(read_table(table)).rows
    arrived = {name: read_table(make(table), text_columns=encoder.text_columns) for name, make in ARRIVALS.items()}
    if path is not None:
        path.write_bytes(csv(table).getvalue())
        arrived["CSV"] = read_table(path, text_columns=encoder.text_columns)
    for name, frame in arrived.items():
        found = encoder.encode(frame).rows
        for part in ("ids", "offsets", "values"):
            one, other = getattr(expected, part), getattr(found, part)
            assert (one is None) == (other is None), (name, part)
            assert one is None or np.array_equal(one, other), (
                f"{name}: other {part}\n{_differences(encoder, table, frame)}"
            )
    for name, make in {**ARRIVALS, **({} if path is None else {"CSV": lambda _: path})}.items():
        learned = infer_schema(read_table(make(table)), target="y", min_count=1)
        kinds = [{(f.name, SAME.get(f.kind, f.kind)) for f in schema.fields} for schema in (encoder.schema, learned)]
        assert kinds[0] == kinds[1], f"{name}: other kinds {kinds[0] ^ kinds[1]}"
    for row in range(min(table.height, 6)):
        one = encoder.encode_one(table.row(row, named=True))
        whole = expected.slice(row, row + 1)
        assert np.array_equal(one.ids.reshape(-1), whole.ids.reshape(-1)), f"row {row}: {table.row(row, named=True)}"
    if path is not None:
        lines = arrived["CSV"]  # text for what a file shows as text; all of a row as text is what a web form sends
        for row in range(min(table.height, 6)):
            texts = {name: None if lines[name][row] is None else str(table[name][row]) for name in encoder.columns}
            found = encoder.encode(read_table({name: [text] for name, text in texts.items()})).rows
            assert np.array_equal(encoder.encode_one(texts).ids.reshape(-1), found.ids.reshape(-1)), f"texts {texts}"
    return True


def _differences(encoder: Encoder, table: pl.DataFrame, frame: pl.DataFrame) -> str:
    lines = []
    for field in encoder.fields:
        one, other = field.encode(read_table(table)[field.column]), field.encode(frame[field.column])
        if not np.array_equal(one.ids, other.ids):
            lines.append(f"{field.column} ({type(field.encoder).__name__}):")
            at = int(np.argmax(one.ids != other.ids)) if len(one.ids) == len(other.ids) else 0
            lines.append(
                f"  {table[field.column][at]!r} arrived as {frame[field.column][at]!r}: {frame[field.column].dtype}"
            )
    return "\n".join(lines)


def main(minutes: float) -> None:
    """Try random tables for some minutes; print how many there were, and each kind of fault once."""
    import pathlib
    import tempfile
    import warnings

    warnings.simplefilter("ignore")
    deadline = time.monotonic() + 60 * minutes
    counts = {"used": 0, "refused": 0}
    faults: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "t.csv"

        @settings(
            max_examples=500,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(tables())
        def some(table: pl.DataFrame) -> None:
            if time.monotonic() > deadline:
                return
            try:
                counts["used" if check(table, path) else "refused"] += 1
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                kind = text.partition(" arrived")[0][:60]
                faults[kind] = faults.get(kind, 0) + 1
                if faults[kind] == 1:
                    print(text, table.to_dict(as_series=False) if table.height < 9 else "", flush=True)

        while time.monotonic() < deadline:
            some()
    print(counts, "faults:", sum(faults.values()))


if __name__ == "__main__":
    main(float(sys.argv[1]))
