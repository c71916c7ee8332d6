"""The same table gives the same ids and the same kinds, whichever way it arrives."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.fuzz_encoder import KINDS, check, tables

pytestmark = pytest.mark.filterwarnings("ignore")  # of pandas, about its conversions


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_pandas_polars_arrow_csv_and_single_rows_agree(tmp_path: Path, table: pl.DataFrame):
    check(table, tmp_path / "t.csv")


def test_tables_of_every_kind_can_be_used():
    """Else the test above could pass by refusing everything."""
    table = pl.DataFrame({"words": ["a", "b"] * 6, "n": list(range(6)) * 2, "y": [0, 1, 1] * 4})
    assert check(table)
    assert len(KINDS) >= 15
