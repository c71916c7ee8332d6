"""Bad tables: an InputError that names the place and the remedy, or the documented behavior; nothing else."""

from __future__ import annotations

import gzip
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyfm.core.errors import AnyfmError, InputError
from anyfm.data import Encoder, infer_schema, read_table


def attempt(action: Callable[[], Any]) -> tuple[Any, AnyfmError | None]:
    """The result of an action, or the error that anyfm raised on purpose. Any other error fails the test."""
    try:
        return action(), None
    except AnyfmError as error:
        return None, error


def written(tmp_path: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def fitted(frame: pl.DataFrame, **options: Any) -> Encoder:
    return Encoder.fit(frame, infer_schema(frame, **options))


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "name", "message"),
        [
            ("", "t.csv", r"must not be empty, but the file has no bytes \(file .*t\.csv\)"),
            ("\n\n \n", "t.csv", r"blank lines only \(file .*t\.csv\)"),
            ("a,a,b\n1,2,3\n", "t.csv", r"but columns \[1, 2\] have the same \(.*line 1, column 'a'\)"),
            ("a,b\n1,2\n3,4,5\n", "t.csv", r"2 cells as the first has, but this one has 3 \(.*csv, line 3\)"),
            ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "t.csv", r"3 cells as the first has, but this one has 2 \(.*line 3\)"),
            ('a,b\n"x\ny",2\n3\n', "t.csv", r"2 cells as the first has, but this one has 1 \(.*line 4\)"),
            ("a\tb\n1\n2\t3\n", "t.tsv", r"2 cells as the first has, but this one has 1 \(.*line 2\)"),
            (b"a,b\n1,x\n2,caf\xe9\n", "t.csv", r"byte 6 of this line is 0xe9 \(.*line 3, column 'number 2'"),
            ("a,b\n1,x\n".encode("utf-16"), "t.csv", r"this is UTF-16 or no text.*line 1.*\"utf-16\""),
            (b"\x00\x01\x02\x03" * 100, "t.csv", "UTF-16 or no text"),
            ('a,b\n1,x\n2,"open\n3,y\n', "t.csv", r"quoted cell must be closed.*line 3"),
            (gzip.compress(b"a,b\n1,2\n" * 9000)[:-30], "t.csv.gz", r"cannot be .*t\.csv\.gz"),
            (b"\x28\xb5\x2f\xfd nonsense", "t.csv.zst", r"cannot be decompressed .*t\.csv\.zst"),
            (b"PAR1 nonsense", "t.parquet", r"cannot be read as Parquet .*t\.parquet"),
            (b"a,b\n1,2\n", "t.parquet", r"name says Parquet, but the file does not begin like one"),
            (b"ARROW1 nonsense", "t.arrow", r"cannot be read as Arrow IPC .*t\.arrow"),
            ('{"a": 1}\n{"a": \n', "t.jsonl", r"must be JSON, .*line 2"),
            ('{"a": 1}\n[1, 2]\n', "t.jsonl", r"must be a JSON object \(.*line 2, value \[1, 2\]\)"),
            ("a,b\n1,2\n", "t.jsonl", r"must be JSON, .*line 1"),
        ],
    )
    def test_unreadable_files_give_an_error_with_the_place(
        self, tmp_path: Path, content: str | bytes, name: str, message: str
    ):
        with pytest.raises(InputError, match=message):
            read_table(written(tmp_path, content, name))

    def test_absent_files_directories_and_empty_globs(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"does not exist \(file .*none\.csv\)"):
            read_table(tmp_path / "none.csv")
        with pytest.raises(InputError, match=r"is a directory .*Give a glob"):
            read_table(tmp_path)
        with pytest.raises(InputError, match=r"matches no file \(file .*\*\.csv\)"):
            read_table(str(tmp_path / "*.csv"))

    def test_globs_of_files_with_other_columns(self, tmp_path: Path):
        written(tmp_path, "a,b\n1,2\n", "1.csv")
        written(tmp_path, "a,c\n1,2\n", "2.csv")
        with pytest.raises(InputError, match=r"columns of .*1\.csv, but this one lacks 'b' \(file .*2\.csv\)"):
            read_table(str(tmp_path / "*.csv"))
        written(tmp_path, "a,b,d\n1,2,3\n", "2.csv")
        with pytest.raises(InputError, match=r"also has 'd' \(file .*2\.csv\)"):
            read_table(str(tmp_path / "*.csv"))

    def test_blank_lines_are_left_out_with_a_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        for content in (
            "a,b\n1,x\n\n2,y\n\n\n",
            "\n\na,b\n1,x\n\n2,y\n\n",
            'a,b\n1,"x"\n\n2,y\n\n',
            "a,b\r\n1,x\r\n\r\n2,y\r\n",
        ):
            caplog.clear()
            frame = read_table(written(tmp_path, content))
            assert frame["a"].cast(pl.Int64).to_list() == [1, 2]  # text if a carriage return was a cell
            assert frame["b"].to_list() == ["x", "y"]
            assert "blank lines left out" in caplog.text

    def test_a_row_of_missing_values_is_a_row(self, tmp_path: Path):
        frame = read_table(written(tmp_path, "a,b\n1,x\n,\n\n2,\n"))
        assert frame.to_dict(as_series=False) == {"a": [1, None, 2], "b": ["x", None, None]}

    def test_a_header_alone_gives_no_rows(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        frame = read_table(written(tmp_path, "a,b\n"))
        assert frame.shape == (0, 2)
        assert "has a header and no rows" in caplog.text
        with pytest.raises(InputError, match="at least one row"):
            infer_schema(frame, target="a")

    def test_zero_bytes_within_a_value_are_part_of_it(self, tmp_path: Path):
        frame = read_table(written(tmp_path, b"a,b\nx\0y,1\nx\0y,2\nz,3\n"))
        encoder = fitted(frame)
        assert encoder.field_values("a") == ["<unseen>", "<missing>", "x\0y"]

    @pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_file_names_that_are_no_utf8(self, tmp_path: Path, suffix: str):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe" + suffix.encode()))
        frame = pl.DataFrame({"a": [1, 2]})
        (frame.write_csv if suffix == ".csv" else frame.write_parquet)(tmp_path / "t")
        (tmp_path / "t").rename(path)
        assert read_table(path).equals(frame)
        path.write_bytes(b"\x00" * 9)
        with pytest.raises(InputError, match=re.escape(str(tmp_path))):
            read_table(path)

    def test_long_values(self, tmp_path: Path):
        long = "x" * 10_000
        frame = read_table(written(tmp_path, f"a,b\n{long},1\n{long},2\n{long}y,3\n"))
        assert fitted(frame).field_values("a")[2] == long

    def test_a_long_first_line(self, tmp_path: Path):
        names = [f"column{i:06d}" for i in range(20_000)]
        frame = read_table(written(tmp_path, ",".join(names) + "\n" + ",".join(["1"] * len(names)) + "\n"))
        assert frame.columns == names

    @given(st.binary(max_size=200))
    @settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.arrow", "t.jsonl", "t"])
    def test_any_bytes_give_a_table_or_an_anyfm_error(self, tmp_path: Path, name: str, content: bytes):
        frame, error = attempt(lambda: read_table(written(tmp_path, content, name)))
        assert isinstance(frame, pl.DataFrame) if error is None else name in str(error)

    @given(
        st.lists(
            st.lists(st.sampled_from(["1", "x", "", '"', '"y"', "é", "\0", " "]), max_size=4).map(",".join), max_size=6
        )
    )
    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_lines_give_whole_rows_or_an_anyfm_error(self, tmp_path: Path, lines: list[str]):
        path = written(tmp_path, "a,b\n" + "\n".join(lines))
        frame, error = attempt(lambda: read_table(path, header=True))
        if error is not None:
            assert "t.csv" in str(error)
            return
        assert frame.columns == ["a", "b"]
        if not any('"' in line for line in lines):
            assert frame.height == sum(line != "" for line in lines)


class TestColumns:
    def test_constant_and_empty_columns_are_ignored_with_a_reason(self):
        frame = pl.DataFrame({"x": ["a", "b"] * 9, "one": [1] * 18, "none": [None] * 18, "nan": [float("nan")] * 18})
        schema = infer_schema(frame)
        assert [field.kind for field in schema.fields] == ["categorical", "ignore", "ignore", "ignore"]
        assert all(field.reason for field in schema.fields)

    def test_constant_and_empty_columns_can_be_encoded_with_any_kind(self):
        frame = pl.DataFrame({"one": [1] * 18, "none": [None] * 18})
        for kind in ("categorical", "numeric", "log", "tags", "boolean", "datetime"):
            encoder = fitted(frame, overrides={"one": kind, "none": kind})
            rows = encoder.encode(frame).rows
            assert rows.n_rows == 18
            rows.check_bounds(encoder.n_features)

    def test_infinities_are_numbers_in_bins_and_missing_when_scaled(self):
        frame = pl.DataFrame({"x": [float("inf"), float("-inf"), *map(float, range(50))]})
        ids = fitted(frame, overrides={"x": {"kind": "numeric", "n_bins": 4}}).encode(frame).rows.ids[:, 0]
        assert ids[:2].tolist() == [5, 2]
        encoded = fitted(frame, overrides={"x": "scaled"}).encode(frame)
        assert encoded.rows.ids[:2, 0].tolist() == [1, 1]
        assert encoded.report.n_missing == 2
        assert np.isfinite(encoded.rows.values).all()

    def test_structs_and_lists_of_a_wrong_kind_are_refused(self):
        frame = pl.DataFrame({"x": [{"a": 1}, {"a": 2}], "y": [[1], [2]]})
        for kind in ("categorical", "numeric", "boolean", "datetime"):
            with pytest.raises(InputError, match=r"column 'x'"):
                fitted(frame, overrides={"x": kind, "y": "ignore"})
        with pytest.raises(InputError, match=r"one value per row, .*column 'y'.*kind = \"tags\""):
            fitted(frame, overrides={"x": "ignore", "y": "categorical"})


class TestNewTables:
    TRAIN = pl.DataFrame({"x": ["a", "b"] * 9, "n": range(18), "y": [0, 1] * 9})

    def test_missing_columns_are_named(self):
        encoder = fitted(self.TRAIN, target="y", overrides={"n": "numeric"})
        with pytest.raises(InputError, match=r"field column must be in the table \(column 'x'\)\. Did you mean 'X'"):
            encoder.encode(pl.DataFrame({"X": ["a"], "n": [1]}))
        with pytest.raises(InputError, match="lacks 'x', 'n'"):
            encoder.encode(pl.DataFrame({"z": ["a"]}))
        with pytest.raises(InputError, match=r"target column must be in the table \(column 'y'\)"):
            encoder.encode(self.TRAIN.drop("y"), labelled=True)

    def test_a_table_without_rows_can_be_encoded(self):
        encoder = fitted(self.TRAIN, target="y", overrides={"n": "numeric"})
        encoded = encoder.encode(self.TRAIN.clear())
        assert encoded.rows.ids.shape == (0, 2)
        frame = pl.DataFrame({"t": [["a"], ["b"]]})
        assert fitted(frame).encode(frame.clear()).rows.offsets.tolist() == [0]

    @pytest.mark.parametrize(
        "column",
        [
            [None],
            [["a"]],
            [b"a"],
            [{"a": 1}],
            ["\ud7ff\U0010ffff"],
            [float("nan")],
            pl.Series([1], dtype=pl.Duration),
            pl.Series([1], dtype=pl.Time),
            pl.Series(["1"]).cast(pl.Decimal(10, 2)),
            pl.Series(["a"], dtype=pl.Categorical),
            pl.Series([[1]], dtype=pl.Array(pl.Int64, 1)),
            pl.Series([2**64 - 1], dtype=pl.UInt64),
        ],
    )
    def test_unusual_types_are_encoded_or_refused_with_the_column(self, column: Any):
        train, frame = pl.DataFrame({"x": [1, 2, 3, 1]}), pl.DataFrame({"x": column})
        for kind in ("categorical", "numeric", "scaled", "log", "tags", "boolean", "datetime"):
            encoder = fitted(train, overrides={"x": kind}, min_count=1)
            encoded, error = attempt(lambda encoder=encoder: encoder.encode(frame))
            if error is not None:
                assert "column 'x'" in str(error)
                continue
            encoded.rows.check_bounds(encoder.n_features)
            assert encoded.rows.n_rows == 1
