"""libsvm and libffm text: native parser against specification, rows through a file and back, layouts, labels, files."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyfm.core.errors import InputError, SettingError
from anyfm.core.rows import Rows
from anyfm.data.text.reader import read_text, text_format
from anyfm.data.text.writer import write_text
from tests.fuzz.text_compare import INTEGERS, NUMBERS, attempt, disagreement, native

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
IDS = st.integers(0, 2**31 - 2)


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes, name: str = "rows.ffm"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


# --- against the specification ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_parser_and_specification_agree_on_generated_text(seed):
    rng = random.Random(seed)
    for _ in range(400):
        text, cuts, options = attempt(rng)
        assert disagreement(text, cuts, **options) == "", (text, cuts, options)


@given(
    lines=st.lists(
        st.lists(
            st.sampled_from([*NUMBERS, *INTEGERS, "0:1", "0:1:1", ":", " ", "\t", "\r", "#", "nan", "é"]), max_size=9
        ),
        max_size=5,
    ),
    glue=st.sampled_from([" ", ":", ""]),
    fields=st.booleans(),
)
def test_parser_and_specification_agree_on_any_line(lines, glue, fields):
    text = "\n".join(glue.join(parts) for parts in lines).encode()
    assert disagreement(text, [], fields=fields) == ""


@given(st.binary(max_size=60), st.booleans())
def test_parser_and_specification_agree_on_any_bytes(text, fields):
    assert disagreement(text, [], fields=fields) == ""


@given(number=st.one_of(st.floats(width=32), st.floats(width=64), st.decimals(-(10**40), 10**40)).map(str))
@settings(max_examples=300)
def test_numbers_are_rounded_to_the_nearest_float32(number):
    assert disagreement(f"{number}".encode(), [], fields=False) == ""


@given(st.integers(0, 2**31 - 1), st.integers(-3, 3))
def test_numbers_half_way_between_two_float32_are_rounded_right(bits, nudge):
    low = np.array(bits % 0x7F7FFFFF, np.uint32).view(np.float32)
    half = (float(low) + float(np.nextafter(low, np.float32(np.inf)))) / 2
    digits = f"{half:.160f}".rstrip("0") + "0"
    text = digits if nudge == 0 else digits[:-1] + ("1" if nudge > 0 else "")
    assert disagreement(text.encode(), [], fields=False) == ""


def test_short_numbers_next_to_half_way_between_two_float32_are_rounded_once():
    # The shortest text of a double that lies half way is a little off it: rounding to double first, then to float32,
    # would lose on which side.
    rng = np.random.default_rng(2)
    low = (rng.random(2000) * 10.0 ** rng.integers(-8, 8, 2000)).astype(np.float32)
    halves = (low.astype(np.float64) + np.nextafter(low, np.float32(np.inf)).astype(np.float64)) / 2
    text = "\n".join(map(repr, halves.tolist())).encode()
    assert disagreement(text, [], fields=False) == ""


def test_the_result_does_not_depend_on_blocks_and_threads():
    rng = random.Random(5)
    lines = [
        f"{i % 2} " + " ".join(f"{f}:{rng.randrange(1000)}:{rng.choice(['1', '0.5'])}" for f in range(i % 7))
        for i in range(3000)
    ]
    text = "\n".join(lines).encode()
    whole = native(text, [], fields=True)
    for n_threads in (1, 2, 5):
        cuts = sorted(rng.randrange(len(text)) for _ in range(20))
        cut = native(text, cuts, fields=True, n_threads=n_threads, piece_bytes=100)
        assert whole.keys() == cut.keys()
        for name, value in whole.items():
            assert np.array_equal(cut[name], value) if isinstance(value, np.ndarray) else cut[name] == value, name


def test_the_first_fault_is_named_for_any_number_of_threads():
    text = b"1 0:1:1\n" * 500 + b"1 0:x:1\n" * 500
    for n_threads in (1, 3, 8):
        fault = native(text, [], fields=True, n_threads=n_threads, piece_bytes=64)
        assert fault == ("id", 501, 5, b"x:1")


# --- writing and reading ------------------------------------------------------------------------------------------


@st.composite
def some_rows(draw, fields: bool):
    n_rows = draw(st.integers(0, 6))
    y = np.array(draw(st.lists(FINITE, min_size=n_rows, max_size=n_rows)), np.float32)
    if draw(st.booleans()) and n_rows:
        shape = (n_rows, draw(st.integers(1, 4)))
        n = shape[0] * shape[1]
        slots = draw(st.lists(IDS, min_size=shape[1], max_size=shape[1])) if draw(st.booleans()) else None
        return Rows(
            ids=np.array(draw(st.lists(IDS, min_size=n, max_size=n)), np.int32).reshape(shape),
            values=_values(draw, n, shape),
            fields=None if slots is None else np.array(slots, np.int32),
            y=y,
        )
    lengths = draw(st.lists(st.integers(0, 4), min_size=n_rows, max_size=n_rows))
    n = sum(lengths)
    return Rows(
        ids=np.array(draw(st.lists(IDS, min_size=n, max_size=n)), np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        values=_values(draw, n, (n,)),
        fields=np.array(draw(st.lists(IDS, min_size=n, max_size=n)), np.int32) if fields else None,
        y=y,
    )


def _values(draw, n, shape):
    if not draw(st.booleans()):
        return None
    return np.array(draw(st.lists(FINITE, min_size=n, max_size=n)), np.float32).reshape(shape)


def plain(rows: Rows, *, fields: bool) -> list:
    """Rows as lists of (label, entries), whatever their layout; numbers by their bits."""
    found = []
    for i in range(rows.n_rows):
        first, last = (0, rows.ids.shape[1]) if rows.offsets is None else rows.offsets[i : i + 2]
        part = slice(first, last)
        ids = rows.ids[i] if rows.offsets is None else rows.ids[part]
        ones = np.ones(rows.ids.shape, np.float32)
        values = (ones if rows.values is None else rows.values)[i if rows.offsets is None else part]
        numbers = (
            np.arange(len(ids)) if rows.fields is None else rows.fields if rows.offsets is None else rows.fields[part]
        )
        of_fields = numbers.tolist() if fields else [0] * len(ids)
        entries = zip(of_fields, ids.tolist(), values.view(np.uint32).tolist(), strict=True)
        found.append((rows.y[i].view(np.uint32), list(entries)))
    return found


@pytest.mark.parametrize("format", ["libffm", "libsvm"])
@given(data=st.data())
@settings(max_examples=80)
def test_written_rows_are_read_back_bit_for_bit(format, data, tmp_path_factory):
    rows = data.draw(some_rows(fields=format == "libffm"))
    path = tmp_path_factory.mktemp("text") / "rows"
    write_text(rows, path, format=format)
    back = read_text(path, format=format, task="regression", n_threads=1)
    fields = format == "libffm"
    assert plain(back.rows, fields=fields) == plain(rows, fields=fields)
    assert back.n_features == int(rows.ids.max(initial=-1)) + 1
    write_text(back.rows, path.with_suffix(".again"), format=format)
    assert path.read_bytes() == path.with_suffix(".again").read_bytes()


def test_rows_without_a_target_are_written_with_the_label_0(tmp_path):
    rows = Rows(ids=np.array([[3, 4]], np.int32))
    write_text(rows, tmp_path / "rows.ffm")
    assert (tmp_path / "rows.ffm").read_text() == "0 0:3:1 1:4:1\n"


# --- layouts ------------------------------------------------------------------------------------------------------


def test_rows_with_the_same_fields_are_of_fixed_width(written):
    read = read_text(written("1 0:5:1 1:7:1\n0 0:6:1 1:8:1\n"))
    assert read.rows.ids.tolist() == [[5, 7], [6, 8]]
    assert read.rows.offsets is None
    assert read.rows.fields is None  # slot s is field s
    assert read.rows.values is None  # all ones
    assert (read.n_features, read.n_fields, read.task) == (9, 2, "binary")


def test_rows_of_fixed_width_may_have_any_fields(written):
    read = read_text(written("1 2:5:1 2:7:1 0:1:.5\n0 2:6:1 2:8:1 0:1:1"))
    assert read.rows.fields.tolist() == [2, 2, 0]
    assert read.rows.values.tolist() == [[1, 1, 0.5], [1, 1, 1]]
    assert read.n_fields == 3


@pytest.mark.parametrize("second", ["0 1:5:1 0:7:1", "0 0:5:1", "0", "0 0:5:1 1:7:1 1:8:1"])
def test_rows_with_other_fields_are_ragged(written, second):
    read = read_text(written("1 0:5:1 1:7:1\n" + second))
    assert read.rows.is_ragged
    assert len(read.rows.fields) == len(read.rows.ids)


def test_libsvm_rows_of_equal_length_are_of_fixed_width_and_of_one_field(written):
    read = read_text(written("1 5:1 7:1\n0 6:1 8:1\n", "rows.svm"))
    assert read.rows.ids.shape == (2, 2)
    assert read.rows.fields.tolist() == [0, 0]
    assert read.n_fields == 1


def test_unusual_but_legal_text(written):
    text = "\ufeff1\t0:5:0  0:5:2 \r\n\r\n  \n0\n-0.0 3:1:1"
    read = read_text(written(text))
    assert read.rows.offsets.tolist() == [0, 2, 2, 3]
    assert read.rows.ids.tolist() == [5, 5, 1]
    assert read.rows.values.tolist() == [0, 2, 1]
    assert read.n_blank_lines == 2
    read = read_text(written("1 5:1 # a 7:x\n# nothing\n0#\n", "rows.svm"))
    assert read.rows.n_rows == 2
    assert read.n_blank_lines == 1


def test_files_without_rows(written):
    for text in ("", "\n", " \n\t\n"):
        read = read_text(written(text))
        assert read.rows.n_rows == 0
        assert (read.n_features, read.n_fields) == (0, 0)


@pytest.mark.parametrize(
    ("text", "n_shared"),
    [
        ("1 0:5:1 1:6:1\n0 0:6:1 1:7:1", 1),
        ("1 0:5:1 1:6:1\n0 0:3:1 1:7:1", 0),
        ("1 0:1:1 1:5:1 0:9:1", 0),
        ("1 0:5:1 1:5:1 2:5:1\n1 2:5:1", 1),
        ("1 0:2000000000:1 1:2000000000:1 2:2000000000:1 0:1:1", 1),
    ],
)
def test_ids_with_several_fields_are_legal_and_counted(written, text, n_shared):
    assert read_text(written(text)).n_shared_ids == n_shared


# --- labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "task", "y", "negative"),
    [
        ("0 1", "binary", [0, 1], 0),
        ("-1 +1", "binary", [0, 1], -1),
        ("-1 -1", "binary", [0, 0], -1),
        ("1 1.0", "binary", [1, 1], 0),
        ("1 2", "binary", [0, 1], 1),
        ("7 3 7", "binary", [1, 0, 1], 3),
        ("1 2 3", "regression", [1, 2, 3], 0),
        (".5 1.5", "regression", [0.5, 1.5], 0),
        ("-1 0 1 .5", "regression", [-1, 0, 1, 0.5], 0),
    ],
)
def test_labels_determine_the_task(written, labels, task, y, negative):
    read = read_text(written("\n".join(labels.split())))
    assert (read.task, read.rows.y.tolist(), read.negative_label) == (task, y, negative)


def test_labels_of_minus_one_are_preserved_for_regression(written):
    read = read_text(written("-1\n1\n"), task="regression")
    assert read.rows.y.tolist() == [-1, 1]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_label_too_small_for_a_normal_float_is_no_zero(written, n_threads):
    with pytest.raises(InputError, match=r"label, 0, 1 or -1.* line 2, column 1, value '1e-40'"):
        read_text(written("0\n1e-40\n"), task="binary", n_threads=n_threads)


@pytest.mark.parametrize("task", ["auto", "binary"])
def test_labels_0_and_minus_1_together_are_refused(written, task):
    with pytest.raises(InputError, match=r"0 and -1 both occur .*rows.ffm, line 4, value -1"):
        read_text(written("0\n1\n\n-1\n0\n"), task=task)


def test_other_labels_are_refused_for_a_binary_task(written):
    with pytest.raises(InputError, match=r"label, 0, 1 or -1.* line 2, column 1, value '2'.*regression"):
        read_text(written("0\n2\n3\n"), task="binary")


# --- unseen ids and fields ----------------------------------------------------------------------------------------


def test_unseen_ids_and_fields_can_be_dropped_and_are_counted(written):
    path = written("1 0:5:1 1:7:.5\n0 0:9:1 1:8:1\n1 2:1:1\n1 0:10:1\n")
    read = read_text(path, n_features=9, n_fields=2, unseen="drop")
    assert read.rows.offsets.tolist() == [0, 2, 3, 3, 3]
    assert read.rows.ids.tolist() == [5, 7, 8]
    assert read.rows.values.tolist() == [1, 0.5, 1]
    assert read.rows.fields.tolist() == [0, 1, 1]
    assert read.n_unseen == 3
    assert (read.n_features, read.n_fields) == (9, 2)


def test_unseen_ids_and_fields_are_refused_otherwise(written):
    path = written("1 0:5:1 1:7:.5\n0 0:9:1 2:8:1\n")
    with pytest.raises(InputError, match=r"a feature id from 0 to 8 .*line 2, column 5, value '9:1'"):
        read_text(path, n_features=9)
    with pytest.raises(InputError, match=r"a field from 0 to 1 .*line 2, column 9, value '2:8:1'"):
        read_text(path, n_fields=2)
    assert read_text(path, n_features=10, n_fields=3).n_features == 10


def test_numbers_beyond_int32_are_refused_even_where_unseen_ids_are_dropped(written):
    with pytest.raises(InputError, match="a feature id from 0 to 2147483646"):
        read_text(written("1 0:99999999999:1"), n_features=9, unseen="drop")


# --- files --------------------------------------------------------------------------------------------------------


def test_several_files_are_read_in_order(written, tmp_path):
    written("1 0:1:1", "b.ffm")
    written("0 0:2:1\n0 0:3:1\n", "a.ffm")
    for source in (str(tmp_path / "*.ffm"), [tmp_path / "a.ffm", tmp_path / "b.ffm"]):
        assert read_text(source).rows.ids.tolist() == [[2], [3], [1]]


def test_faults_name_the_file_they_are_in(written, tmp_path):
    written("1 0:1:1", "a.ffm")
    written("1 0:1:1\n1 0:z:1", "b.ffm")
    with pytest.raises(InputError, match=r"b\.ffm, line 2, column 5, value 'z:1'"):
        read_text(tmp_path / "*.ffm")


def test_the_suffix_determines_the_format():
    assert [text_format(name) for name in ("a.ffm", "a.LIBFFM", "a.svm", "a.libsvm", "a.svmlight", "a.csv")] == [
        *("libffm", "libffm", "libsvm", "libsvm", "libsvm"),
        None,
    ]
    with pytest.raises(SettingError, match="format must be libsvm or libffm"):
        read_text("rows.txt")
    with pytest.raises(SettingError, match="format must be"):
        read_text(["a.ffm", "b.svm"])
