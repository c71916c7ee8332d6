"""Bad text files: an InputError with the place, or rows; never a crash, and never a partly written file."""

from __future__ import annotations

import gzip
import os
import time

import numpy as np
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.data.text.reader import read_text
from anyfm.data.text.writer import write_text
from tests.fuzz.text_compare import disagreement


@pytest.fixture
def refusal(tmp_path):
    """The text of the error raised for a text file."""

    def read(text: str | bytes, format: str = "libffm", **options) -> str:
        path = tmp_path / "bad.txt"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(InputError) as caught:
            read_text(path, format=format, **options)
        assert str(path) in str(caught.value)
        return str(caught.value)

    return read


@pytest.mark.parametrize(
    ("line", "column", "expected", "found"),
    [
        ("0:5:1 1:7:1", 1, "a label", "0:5:1"),
        ("x 0:5:1", 1, "a label", "x"),
        ("nan 0:5:1", 1, "a label", "nan"),
        ("1e39", 1, "a label", "1e39"),
        ("--1", 1, "a label", "--1"),
        ("1,0:5:1", 1, "a label", "1,0:5:1"),
        ("1 5", 3, "a field", "5"),
        ("1 :5:1", 3, "a field", ":5:1"),
        ("1 -1:5:1", 3, "a field", "-1:5:1"),
        ("1 +1:5:1", 3, "a field", "+1:5:1"),
        ("1 2147483647:5:1", 3, "a field", "2147483647:5:1"),
        ("1 0:5:1 99999999999999999999999:5:1", 9, "a field", "99999999999999999999999:5:1"),
        ("1 0x1:5:1", 3, "a field", "0x1:5:1"),
        ("1 1.0:5:1", 3, "a field", "1.0:5:1"),
        ("1 # note", 3, "a field", "#"),
        ("1 0:-5:1", 5, "a feature id", "-5:1"),
        ("1 0::1", 5, "a feature id", ":1"),
        ("1 0:", 5, "a feature id", None),
        ("1 0:5", 5, "a feature id", "5"),
        ("1 0:2147483647:1", 5, "a feature id", "2147483647:1"),
        ("1 0:4294967297:1", 5, "a feature id", "4294967297:1"),
        ("1 0:18446744073709551617:1", 5, "a feature id", "18446744073709551617:1"),
        ("1 0:5:", 7, "a value", None),
        ("1 0:5: 1", 7, "a value", None),
        ("1 0:5:1:1", 7, "a value", "1:1"),
        ("1 0:5:nan", 7, "a value", "nan"),
        ("1 0:5:inf", 7, "a value", "inf"),
        ("1 0:5:-Infinity", 7, "a value", "-Infinity"),
        ("1 0:5:1e400", 7, "a value", "1e400"),
        ("1 0:5:3.5e38", 7, "a value", "3.5e38"),
        ("1 0:5:0x1p3", 7, "a value", "0x1p3"),
        ("1 0:5:1e", 7, "a value", "1e"),
        ("1 0:5:1_000", 7, "a value", "1_000"),
        ("1 0:5:1,5", 7, "a value", "1,5"),
        ("1 0:5:.", 7, "a value", "."),
        ("1 0:5:1\x0b", 7, "a value", "1\\x0b"),
        ("1 0:5:1\rx", 7, "a value", "1\\rx"),
        ("1 é:5:1", 3, "a field", "é:5:1"),
        ("1 0:5:1 \u00a0", 9, "a field", "\\xa0"),
    ],
)
def test_every_fault_has_its_place(refusal, line, column, expected, found):
    text = refusal(f"1 0:5:1\n\n{line}\n1 0:5:1\n")
    assert f"expected {expected}" in text
    assert f"line 3, column {column}" in text
    assert "but the line ends" in text if found is None else f"value '{found}'" in text


def test_columns_count_characters_not_bytes(refusal):
    assert "line 1, column 9, value 'é'" in refusal("1 0:5:1 é")
    assert "column 3, value 'ä:ö'" in refusal("1 ä:ö", "libsvm")


def test_bytes_that_are_not_text_are_escaped(refusal):
    assert r"value '\\xff\\xfe'" in refusal(b"\xff\xfe")
    assert r"'\x00'" in refusal(b"1 0:5:1\n\0\n")
    assert "line 1, column 3" in refusal(b"1 \x80\x80:5:1")
    refusal("1 0:5:1\n".encode("utf-16"))


def test_any_byte_at_any_position_is_read_or_refused():
    line = b"1 0:5:1 1:7:0.5\r\n"
    for at in range(len(line)):
        for byte in range(256):
            text = line[:at] + bytes([byte]) + line[at + 1 :]
            assert disagreement(text, [], fields=True) == "", text


def test_the_other_format_is_recognized(refusal):
    assert "choose the format 'libsvm'" in refusal("1 5:0.5 7:1")
    assert "choose the format 'libffm'" in refusal("1 0:5:1 1:7:1", "libsvm")
    assert "every row must have a group (qid:), or none" in refusal("1 qid:3 5:1\n1 5:1", "libsvm")
    assert "expected a feature id" in refusal("1 qid:x 5:1", "libsvm")


def test_a_line_of_10_megabytes_is_read_quickly(tmp_path):
    n = 1_000_000
    path = tmp_path / "long.ffm"
    path.write_bytes(b"0 0:1:1\n1" + b" 1:123:0.25" * n + b"\n1 0:1:1\n" + b"1" + b" 1:123:0.25" * n)
    began = time.perf_counter()
    rows = read_text(path).rows
    assert time.perf_counter() - began < 20
    assert np.diff(rows.offsets).tolist() == [1, n, 1, n]


def test_a_fault_at_the_end_of_a_long_line_has_its_column(refusal):
    text = refusal(b"1" + b" 0:7:1" * 1_700_000 + b" 0:x:1")
    assert f"line 1, column {2 + 6 * 1_700_000 + 3}, value 'x:1'" in text


def test_numbers_of_a_megabyte_are_read_or_refused(tmp_path, refusal):
    path = tmp_path / "long.ffm"
    digits = b"0" * 1_000_000
    path.write_bytes(b"1 " + digits + b"1:" + digits + b"2:0." + digits + b"5e1000001")
    rows = read_text(path).rows
    assert rows.ids.tolist() == [[2]]
    assert rows.values.tolist() == [[5.0]]
    assert "expected a value" in refusal(b"1 0:0:1" + digits)
    assert "…" in refusal(b"x" * 1_000_000)  # the value is shortened
    assert len(refusal(b"x" * 1_000_000)) < 1000


def test_many_blank_lines_and_empty_rows(tmp_path):
    path = tmp_path / "empty.ffm"
    path.write_bytes(b"\n" * 300_000 + b"1\n" * 300_000 + b"\r\n" * 100_000)
    read = read_text(path)
    assert (read.rows.n_rows, read.rows.n_entries, read.n_blank_lines) == (300_000, 0, 400_000)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gzip", gzip.compress(b"1 0:5:1\n", mtime=0)),
        ("zstd", b"\x28\xb5\x2f\xfd rest"),
        ("bzip2", b"BZh91AY&SY"),
        ("xz", b"\xfd7zXZ\x00"),
        ("zip", b"PK\x03\x04rest"),
    ],
)
def test_compressed_files_are_recognized(refusal, name, content):
    assert f"compressed ({name})" in refusal(content)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"does not exist .*absent\.ffm"):
        read_text(tmp_path / "absent.ffm")
    with pytest.raises(InputError, match="the pattern matches no file"):
        read_text(tmp_path / "*.ffm")
    with pytest.raises(InputError, match="this is a directory"):
        read_text(tmp_path, format="libffm")
    with pytest.raises(InputError, match="at least one file"):
        read_text([], format="libffm")


def test_settings_out_of_range_are_refused(tmp_path):
    for options in ({"n_features": 0}, {"n_fields": 2**31}, {"n_threads": -1}, {"n_threads": 5000}, {"task": "rank"}):
        with pytest.raises(SettingError, match=next(iter(options))):
            read_text(tmp_path / "rows.ffm", **options)


# --- writing ------------------------------------------------------------------------------------------------------

IDS = np.array([[1, 2]], np.int32)


@pytest.mark.parametrize(
    ("rows", "format", "text"),
    [
        (Rows(ids=-IDS), "libffm", "ids must lie in"),
        (Rows(ids=np.full((1, 1), 2**31 - 1, np.int32)), "libffm", "ids must lie in"),
        (Rows(ids=IDS, fields=np.array([0, -1], np.int32)), "libffm", "fields must lie in"),
        (Rows(ids=IDS, values=np.array([[1, np.nan]], np.float32)), "libsvm", "values must be finite"),
        (Rows(ids=IDS, y=np.array([np.inf], np.float32)), "libsvm", "y must be finite"),
        (Rows(ids=IDS, weight=np.ones(1, np.float32)), "libsvm", "row weights"),
        (Rows(ids=IDS[0], offsets=np.array([0, 2], np.int64)), "libffm", "the field of each entry"),
    ],
)
def test_rows_that_the_format_cannot_hold_are_refused(tmp_path, rows, format, text):
    path = tmp_path / "rows.txt"
    path.write_text("earlier")
    with pytest.raises((InputError, SettingError), match=text):
        write_text(rows, path, format=format)
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["rows.txt"]


def test_failed_writing_leaves_the_earlier_file(tmp_path, monkeypatch):
    from anyfm.data.text import writer

    path = tmp_path / "rows.ffm"
    path.write_text("earlier")

    def full(*_, **__):
        yield b"1 0:1:1\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_blocks", full)
    with pytest.raises(InputError, match=r"No space left .*rows\.ffm"):
        write_text(Rows(ids=IDS), path)
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["rows.ffm"]


def test_compressed_files_and_absent_directories_are_not_written(tmp_path):
    with pytest.raises(SettingError, match="without compression"):
        write_text(Rows(ids=IDS), tmp_path / "rows.ffm.gz", format="libffm")
    with pytest.raises(InputError, match="cannot be written"):
        write_text(Rows(ids=IDS), tmp_path / "absent" / "rows.ffm")
