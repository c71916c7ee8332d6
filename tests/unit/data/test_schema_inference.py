"""The kind inferred for each column, and the reason for it."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.data import infer_schema

N = 2000
RANDOM = np.random.default_rng(0)


def verdict(values: Any, name: str = "x", **settings: Any) -> Any:
    frame = pl.DataFrame({name: values, "other": ["a", "b"] * (len(values) // 2) + ["a"] * (len(values) % 2)})
    return infer_schema(frame, **settings).fields[0]


def popular(n_values: int) -> np.ndarray[Any, Any]:
    """Codes of very different popularity, with no order among neighbours."""
    weights = RANDOM.permutation(1.0 / np.arange(1, n_values + 1))
    return RANDOM.choice(n_values, 20 * N, p=weights / weights.sum())


@pytest.mark.parametrize(
    ("name", "values", "kind", "reason"),
    [
        ("colour", ["red", "blue"] * N, "categorical", "text, 2 distinct values"),
        ("click", [0, 1] * N, "categorical", "two whole numbers"),
        ("flag", [True, False] * N, "boolean", "true or false"),
        ("height_cm", RANDOM.normal(170, 10, N), "numeric", "2,000 distinct numbers, in 32 quantile bins"),
        ("age", RANDOM.integers(17, 90, N), "numeric", "73 distinct whole numbers, in 32 quantile bins"),
        ("stars", RANDOM.integers(1, 6, N), "numeric", "5 distinct whole numbers, one bin each"),
        ("user_id", RANDOM.integers(0, 200, N), "categorical", "name of an identifier"),
        ("movieId", RANDOM.integers(0, 200, N), "categorical", "name of an identifier"),
        ("siteid", RANDOM.integers(0, 200, N), "categorical", "name of an identifier"),
        ("zip_code", RANDOM.integers(10_000, 10_200, N), "categorical", "name of an identifier"),
        ("item", RANDOM.integers(0, 200, N), "categorical", "name of an identifier"),
        ("user_age", RANDOM.integers(17, 90, N), "numeric", "whole numbers"),
        ("bid", RANDOM.integers(1, 500, N), "numeric", "whole numbers"),
        ("paid", RANDOM.integers(1, 500, N), "numeric", "whole numbers"),
        ("weekday", RANDOM.integers(1, 8, N), "categorical", "from 1 to 7 with the name of a calendar unit"),
        ("column_1", popular(1000), "categorical", "neighbouring values differ in frequency"),
        ("visits", np.minimum(RANDOM.geometric(0.01, 20 * N), 400), "numeric", "whole numbers"),
        ("same", ["a"] * N, "ignore", "constant: every value is 'a'"),
        ("nothing", [None] * N, "ignore", "every value is missing"),
        ("dashes", ["", "?", None, "NA"] * N, "ignore", "every value is missing"),
        ("sometimes", ["a", None] * N, "categorical", "text, 1 distinct value; 50% missing"),
        ("row", np.arange(N), "ignore", "no value is repeated: an identifier of the row"),
        ("order_id", RANDOM.permutation(10 * N)[:N], "ignore", "100% distinct: too few values are repeated"),
        ("uuid", [f"{i:x}-u" for i in range(N)], "ignore", "text, no value is repeated: an identifier"),
        ("comment", [f"words {i}" for i in range(N)] + ["none"] * 20, "ignore", "99.1% of the values are distinct"),
        ("born", [datetime.date(1950, 1, 1 + i % 31) for i in range(N)], "datetime", "dates from 1950-01-01"),
        ("seen", ["2024-01-31 12:30:00", "2024-02-01 00:00:00"] * N, "datetime", "ISO dates and times in text"),
        ("timestamp", 1_000_000_000 + np.arange(N) * 99, "datetime", "s since 1970, from 2001-09-09 to 2001-09-11"),
        ("created_at", 10**12 + np.arange(N) * 99, "datetime", "whole numbers, ms since 1970"),
        ("column_4", 1_000_000_000 + np.arange(N) * 99, "numeric", "may be seconds since 1970: if so, set kind"),
        ("price", ["1.50", "2.75", "?", " 3.5"] * N, "numeric", "numbers stored as text: 3 distinct numbers"),
        ("code", ["07", "08", "A1", "12"] * N, "categorical", "but 2,000 of 8,000 values are not, such as 'A1'"),
        ("genres", ["A|B", "B", "A|C|B", "C|A", "B|C", "A", "C"] * N, "tags", "separated by '|': 3 tags in 7 comb"),
        ("keywords", [["a", "b"], ["b"]] * N, "tags", "lists of values"),
        ("empty", [[], None] * N, "ignore", "every list is empty"),
        ("nested", [[[1]], [[2]]] * N, "ignore", "nested lists (List(List(Int64))) cannot be used"),
        ("thing", [{"a": 1}, {"a": 2}] * N, "ignore", "values of type Struct({'a': Int64}) cannot be used"),
        ("name", ["Smith, John", "Doe, Jane", "Roe, Jim"] * N, "categorical", "3 distinct values"),
    ],
)  # fmt: skip
def test_kind_and_reason(name: str, values: Any, kind: str, reason: str):
    field = verdict(values, name)
    assert (field.kind, field.name) == (kind, name), field.reason
    assert reason in field.reason


def test_missing_words_are_reported():
    assert verdict(["a", "b", "?", None] * N).reason.endswith("; 50% missing (including '?')")


def test_few_rows_have_few_bins():
    assert verdict(np.linspace(0, 1, 100)).n_bins == 4
    assert verdict(np.linspace(0, 1, 100), overrides={"x": {"kind": "numeric", "n_bins": 50}}).n_bins == 50


def test_few_distinct_rows_are_no_identifier():
    assert verdict(["a", "b", "c", "d"]).kind == "categorical"


def test_order_of_rows_does_not_matter():
    frame = pl.DataFrame({"a": popular(50), "b": popular(50).astype(str), "c": RANDOM.normal(size=20 * N)})
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    assert infer_schema(frame) == infer_schema(shuffled)


class TestOverrides:
    def test_a_string_is_a_kind(self):
        field = verdict([1, 2, 3] * N, overrides={"x": "categorical"})
        assert (field.kind, field.reason) == ("categorical", "set by the user")

    def test_settings_do_not_change_the_inferred_kind(self):
        field = verdict(["a", "b", "c"] * N, overrides={"x": {"min_count": 9}})
        assert (field.kind, field.min_count) == ("categorical", 9)

    def test_parts_imply_a_datetime_and_a_separator_implies_tags(self):
        assert verdict([10**9, 10**9 + 1], overrides={"x": {"parts": ["hour"]}}).field_names == ("x.hour",)
        assert verdict(["a-b", "b"], overrides={"x": {"separator": "-"}}).kind == "tags"

    def test_the_separator_of_tags_is_found(self):
        assert verdict(["a;b", "b;c", "c"] * N, overrides={"x": "tags"}).separator == ";"
        assert verdict(["a b", "b", "c a"] * N, overrides={"x": "tags"}).separator == " "
        with pytest.raises(InputError, match=r"none of .* occurs in this column \(column 'x', value 'a'\).*x=tags"):
            verdict(["a", "b", "c"] * N, overrides={"x": "tags"})

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ({"x": "category"}, "field 'x': kind must be one of categorical.* Did you mean 'categorical'"),
            (
                {"x": {"bins": 3}},
                "a setting of field 'x' must be one of format, kind, min_count, .* Did you mean 'n_bins'",
            ),
            ({"x": {"n_bins": 1}}, "field 'x': n_bins must be an integer from 2"),
            ({"x": {"parts": ["era"]}}, "field 'x': parts must be some of year, quarter"),
            ({"x": {"kind": "numeric", "parts": ["hour"]}}, "parts belong to a field of kind datetime"),
            ({"x": 3}, "must be a kind or a mapping"),
        ],
    )
    def test_overrides_that_break_a_rule_are_refused(self, overrides: Any, message: str):
        with pytest.raises(SettingError, match=message):
            verdict([1, 2, 3], overrides=overrides)

    def test_overrides_of_an_absent_column_are_refused(self):
        with pytest.raises(
            InputError, match=r"overridden column must be in the table \(column 'othr'\). Did you mean 'other'"
        ):
            verdict([1, 2, 3], overrides={"othr": "numeric"})


class TestRefusedTables:
    def test_absent_target_and_weight(self):
        with pytest.raises(
            InputError, match=r"target column must be in the table \(column 'clik'\).*The table has 'x', 'other'"
        ):
            verdict([1, 2, 3], target="clik")
        with pytest.raises(InputError, match="weight column must be in the table"):
            verdict([1, 2, 3], weight="w")

    def test_no_field_left(self):
        with pytest.raises(InputError, match=r"none is left \(x: constant: every value is 1\)"):
            infer_schema(pl.DataFrame({"x": [1, 1, 1], "y": [0, 1, 0]}), target="y")

    def test_no_rows(self):
        with pytest.raises(InputError, match="at least one row"):
            infer_schema(pl.DataFrame({"x": [], "y": []}), target="y")

    def test_an_unknown_task_is_refused_with_the_nearest(self):
        with pytest.raises(
            SettingError,
            match=r"task must be one of auto, binary, regression, poisson, got task='regresion'\. Did you mean 'regr",
        ):
            verdict([1, 2, 3], task="regresion")
