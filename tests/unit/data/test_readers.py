"""Every kind of file and every library's table gives the same DataFrame."""

from __future__ import annotations

import datetime
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from anyfm.core.errors import InputError, SettingError
from anyfm.data import read_table, write_table
from anyfm.data.text_file import TextFile

TABLE = pl.DataFrame({"x": [1, 2, None], "s": ["a", None, "ü, b"], "f": [0.5, -1.0, 1e10]})
CSV = 'x,s,f\n1,a,0.5\n2,,-1.0\n,"ü, b",1e10\n'


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class TestFiles:
    @pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.arrow", "t.feather", "t.jsonl", "t.ndjson"])
    def test_written_tables_are_read_back(self, tmp_path: Path, name: str):
        write_table(TABLE, tmp_path / name)
        assert_frame_equal(read_table(tmp_path / name), TABLE)
        assert_frame_equal(read_table(str(tmp_path / name), columns=["f", "x"]), TABLE.select("f", "x"))

    @pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
    def test_compression_is_detected_from_the_bytes(self, tmp_path: Path, name: str):
        assert_frame_equal(read_table(written(tmp_path, name, gzip.compress(CSV.encode()))), TABLE)

    def test_zstd(self, tmp_path: Path):
        pa = pytest.importorskip("pyarrow")
        for name, text in (("t.csv.zst", CSV), ("t.jsonl.zst", TABLE.write_ndjson())):
            path = written(tmp_path, name, bytes(pa.compress(text.encode(), codec="zstd", asbytes=True)))
            assert_frame_equal(read_table(path), TABLE)

    def test_gzipped_json_lines(self, tmp_path: Path):
        path = written(tmp_path, "t.jsonl.gz", gzip.compress(TABLE.write_ndjson().encode()))
        assert_frame_equal(read_table(path), TABLE)

    @pytest.mark.parametrize(("separator", "name"), [(",", "t.data"), ("\t", "t.csv"), (";", "t.txt"), ("|", "t")])
    def test_the_separator_is_detected(self, tmp_path: Path, separator: str, name: str):
        text = "\n".join(separator.join(row) for row in [["a", "b", "c"], ["1", "x y", "2"], ["3", "z.z", "4"]])
        frame = read_table(written(tmp_path, name, text))
        assert frame.to_dict(as_series=False) == {"a": [1, 3], "b": ["x y", "z.z"], "c": [2, 4]}

    def test_the_separator_is_not_confused_with_tags_or_quoted_text(self, tmp_path: Path):
        path = written(tmp_path, "t.csv", 'id,genres\n1,A|B|C\n2,A|B|C\n3,"A|C|D"\n')
        assert read_table(path).columns == ["id", "genres"]
        path = written(tmp_path, "u.csv", 'a;b\n"1,2,3";4\n"5,6,7";8\n')
        assert read_table(path).columns == ["a", "b"]

    def test_one_column(self, tmp_path: Path):
        assert read_table(written(tmp_path, "t.csv", "a\nx\n\ny\n"))["a"].to_list() == ["x", None, "y"]

    def test_line_ends_and_byte_order_mark(self, tmp_path: Path):
        path = written(tmp_path, "t.csv", b"\xef\xbb\xbfa,b\r\n1,x\r\n2,y\r\n")
        assert read_table(path).to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}

    def test_encodings(self, tmp_path: Path):
        for encoding in ("latin-1", "utf-16", "cp1252"):
            path = written(tmp_path, f"{encoding}.csv", "a,b\n1,é\n2,ü\n".encode(encoding))
            assert read_table(path, encoding=encoding)["b"].to_list() == ["é", "ü"]
        with pytest.raises(SettingError, match="encoding='klingon'"):
            read_table(path, encoding="klingon")

    def test_spaces_around_names_are_removed(self, tmp_path: Path):
        frame = read_table(written(tmp_path, "t.csv", "a, b ,\n1,2,3\n4,5,6\n"), text_columns=["b"])
        assert frame.to_dict(as_series=False) == {"a": [1, 4], "b": ["2", "5"], "column_3": [3, 6]}

    def test_leading_zeros_and_text_columns_are_text(self, tmp_path: Path):
        path = written(tmp_path, "t.csv", "zip,n,x\n01234,1,0.5\n99999,0,-0.25\n")
        assert read_table(path).to_dict(as_series=False) == {"zip": ["01234", "99999"], "n": [1, 0], "x": [0.5, -0.25]}
        assert read_table(path, text_columns={"n", "absent"})["n"].to_list() == ["1", "0"]

    def test_huge_numbers_are_no_error(self, tmp_path: Path):
        frame = read_table(written(tmp_path, "t.csv", "a,b\n99999999999999999999999,1\n2,2\n"))
        assert frame.height == 2

    def test_a_type_that_changes_late_makes_the_column_text(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        lines = ["007,1"] * 12_000 + ["x1,2"]
        frame = read_table(written(tmp_path, "t.csv", "a,b\n" + "\n".join(lines) + "\n"))
        assert frame["a"].dtype == pl.String
        assert frame["a"][0] == "007"
        assert frame["a"][-1] == "x1"
        assert frame["b"].dtype == pl.Int64
        assert "could not parse `x1`" in caplog.text


class TestHeader:
    @pytest.mark.parametrize(
        ("text", "columns"),
        [
            ("a,b\n1,x\n2,y\n", ["a", "b"]),
            ("1,x\n2,y\n", ["column_1", "column_2"]),
            ("a,b\nx,y\nz,w\n", ["a", "b"]),
            ("0,1,label\n0.5,2,3\n0.7,1,4\n", ["0", "1", "label"]),
            ("1,,x\n2,3,y\n", ["column_1", "column_2", "column_3"]),
            (",a\n0,x\n1,y\n", ["column_1", "a"]),
            ("nan,inf\n1,2\n", ["nan", "inf"]),
        ],
    )
    def test_a_header_is_detected(self, tmp_path: Path, text: str, columns: list[str]):
        assert read_table(written(tmp_path, "t.csv", text)).columns == columns

    def test_header_and_names_can_be_given(self, tmp_path: Path):
        path = written(tmp_path, "t.csv", "a,b\n1,x\n")
        assert read_table(path, header=False).to_dict(as_series=False) == {
            "column_1": ["a", "1"],
            "column_2": ["b", "x"],
        }
        assert read_table(path, names=["p", "q"]).to_dict(as_series=False) == {"p": [1], "q": ["x"]}
        with pytest.raises(InputError, match="must name each of the 2 columns once, but there are 1"):
            read_table(path, names=["p"])

    def test_text_columns_go_by_the_given_names(self, tmp_path: Path):
        frame = read_table(written(tmp_path, "t.csv", "a,b\n1,2\n"), names=["b", "a"], text_columns=["b"])
        assert frame.to_dict(as_series=False) == {"b": ["1"], "a": [2]}


class TestGlobs:
    def test_files_are_read_in_order_of_name(self, tmp_path: Path):
        for name, text in (("b.csv", "x,y\n3,c\n"), ("a.csv", "x,y\n1,a\n"), ("c.csv", "y,x\nd,4\n")):
            written(tmp_path, name, text)
        frame = read_table(str(tmp_path / "*.csv"))
        assert frame.to_dict(as_series=False) == {"x": [1, 3, 4], "y": ["a", "c", "d"]}
        frame = read_table([tmp_path / "c.csv", tmp_path / "a.csv"])
        assert frame["x"].to_list() == [4, 1]

    def test_whole_numbers_and_fractions_become_floats(self, tmp_path: Path):
        written(tmp_path, "a.csv", "x\n1\n")
        written(tmp_path, "b.csv", "x\n2.5\n")
        assert read_table(str(tmp_path / "*.csv"))["x"].to_list() == [1.0, 2.5]

    def test_text_in_one_file_is_text_in_all(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        written(tmp_path, "a.csv", "x,y\n7,1\n")
        written(tmp_path, "b.csv", "x,y\nA7,2\n")
        frame = read_table(str(tmp_path / "*.csv"))
        assert frame["x"].to_list() == ["7", "A7"]
        assert "text in some of the files and not in others, so read as text in all: x" in caplog.text


class TestMemory:
    def test_polars(self):
        assert read_table(TABLE) is TABLE
        assert_frame_equal(read_table(TABLE.lazy()), TABLE)
        assert read_table(TABLE, names=["p", "q", "r"], columns=["q"]).columns == ["q"]

    def test_arrow(self):
        pa = pytest.importorskip("pyarrow")
        assert_frame_equal(read_table(pa.table(TABLE.to_dict(as_series=False))), TABLE)
        with pytest.raises(InputError, match=r"distinct names, but one occurs twice \(column 'a'\)"):
            read_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))

    def test_pandas(self):
        pd = pytest.importorskip("pandas")
        moment = datetime.datetime(2024, 1, 31, 12, 30)
        frame = pd.DataFrame(
            {
                "i": [1, 2],
                "f": [1.5, math.nan],
                "s": ["a", None],
                "o": pd.Series(["a", 1], dtype=object),
                "b": [True, False],
                "B": pd.Series([True, None], dtype="boolean"),
                "I": pd.Series([1, None], dtype="Int64"),
                "c": pd.Series(["x", None], dtype="category"),
                "t": pd.Series([moment, pd.NaT]),
                "l": [["a", "b"], []],
                7: [1, 2],
            }
        ).set_index(np.array([10, 20]))
        assert read_table(frame).to_dict(as_series=False) == {
            "i": [1, 2],
            "f": [1.5, None],
            "s": ["a", None],
            "o": ["a", "1"],
            "b": [True, False],
            "B": [True, None],
            "I": [1, None],
            "c": ["x", None],
            "t": [moment, None],
            "l": [["a", "b"], []],
            "7": [1, 2],
        }
        with pytest.raises(InputError, match="occurs twice"):
            read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))

    def test_mappings(self):
        columns = {
            "array": np.array([1, 2], np.int32),
            "words": np.array(["a", "b"]),
            "objects": np.array(["a", None], object),
            "list": [1, 2.5],
            "mixed": [1, "a"],
            "floats": [1.0, "3.0"],
            "series": pl.Series([1, 2]),
            "lists": [["a"], ("b", "c")],
            "sets": [{1}, set()],
        }
        assert read_table(columns).to_dict(as_series=False) == {
            "array": [1, 2],
            "words": ["a", "b"],
            "objects": ["a", None],
            "list": [1.0, 2.5],
            "mixed": ["1", "a"],
            "floats": ["1", "3.0"],
            "series": [1, 2],
            "lists": [["a"], ["b", "c"]],
            "sets": [["1"], []],
        }

    def test_two_dimensional_arrays(self):
        assert read_table(np.arange(4.0).reshape(2, 2)).to_dict(as_series=False) == {"x0": [0, 2], "x1": [1, 3]}

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ({"a": [1, 2], "b": [1]}, r"as many rows as 'a', 2, but this one differs \(column 'b', value 1\)"),
            ({"a": np.zeros((2, 2))}, r"one dimension, but it has 2 \(column 'a'\)"),
            ({"a": 3}, r"an array or a list of values \(column 'a', value 3\)"),
            ({"a": "text"}, r"an array or a list of values \(column 'a', value 'text'\)"),
            ({"a": [["x"], "y"]}, r"lists only \(row 2, column 'a', value 'y'\)"),
            ({1: [1], "1": [2]}, "occurs twice"),
            (3, "type='int'"),
            (None, "type='NoneType'"),
            ([1, 2], "type='list'"),
        ],
    )
    def test_other_objects_are_refused(self, source: Any, message: str):
        with pytest.raises(InputError, match=message):
            read_table(source)

    def test_a_misspelt_format_is_answered_with_the_nearest(self):
        with pytest.raises(SettingError, match=r"format must be one of auto, csv.*Did you mean 'parquet'\?"):
            read_table("t", format="parket")

    def test_absent_columns_are_named(self):
        with pytest.raises(InputError, match=r"\(column 'z'\)\. The table has 'x', 's', 'f'"):
            read_table(TABLE, columns=["x", "z"])


class TestWriting:
    def test_mappings_and_standard_output(self, capsys: pytest.CaptureFixture[str]):
        write_table({"id": np.array([1, 2]), "p": np.array([0.5, 0.25])}, "-")
        assert capsys.readouterr().out == "id,p\n1,0.5\n2,0.25\n"

    def test_unknown_suffixes_and_absent_directories_are_refused(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"written as \.csv"):
            write_table(TABLE, tmp_path / "t.xlsx")
        with pytest.raises(InputError, match="cannot be written"):
            write_table(TABLE, tmp_path / "absent" / "t.csv")


def test_records_have_the_number_of_their_first_line(tmp_path: Path):
    path = written(tmp_path, "t.csv", 'a,b\n"x\ny",1\n\nz,2\n')
    assert list(TextFile(path).records(",")) == [(1, ["a", "b"]), (2, ["x\ny", "1"]), (4, []), (5, ["z", "2"])]
