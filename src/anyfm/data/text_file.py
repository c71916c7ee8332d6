"""A text file as UTF-8 bytes, whatever its compression and encoding."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import polars as pl

from anyfm.core.errors import SettingError, got
from anyfm.data.messages import input_error

READ_ERRORS = (OSError, RuntimeError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises for bad bytes; its panics are no Exception to Python, but can be caught."""

FIRST_BYTES = 1 << 16
csv.field_size_limit(2**31 - 1)


COMPRESSIONS = {
    "gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "bzip2": b"BZh", "xz": b"\xfd7zXZ", "zip": b"PK\x03\x04",
}  # fmt: skip
_READ_BY_POLARS = ("", "gzip", "zstd")
_CHUNK = 1 << 20


def not_a_table(start: bytes) -> tuple[str, str] | None:
    """What a file is that is no table, by its first bytes, and what to do; None if it may be one."""
    for magic, what, remedy in (
        (b"SQLite format 3\0", "an SQLite database", "Export its table: sqlite3 -header -csv FILE 'select * from T'."),
        (b"\x89HDF\r\n", "an HDF5 file", "Save the table as Parquet or CSV."),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", "Save it as .xlsx or CSV."),
        (b"%PDF", "a PDF document", "Save the table as CSV."),
        (b"\x93NUMPY", "a NumPy array", "Load it with numpy.load and give the array."),
        (b"Obj\x01", "an Avro file", "Save the table as Parquet or CSV."),
        (b"ORC", "an ORC file", "Save the table as Parquet or CSV."),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first."),
        (b"Rar!", "a RAR archive", "Unpack it first."),
    ):
        if start.startswith(magic):
            return what, remedy
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle, which may run code when it is loaded", "Load it with pandas and give the data frame."
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page", "Download the file itself; the page may be that of a login."
    return None


def has_leading_zeros(file: TextFile, separator: str) -> bool:
    """Whether a cell may begin with 0 and another digit: "007", but not "0.7"."""
    last = b"\n"
    mark = ord(separator)
    with file.open() as stream:
        while block := stream.read(_CHUNK):
            text = np.frombuffer(last + block, np.uint8)
            before, zero, after = text[:-2], text[1:-1], text[2:]
            begins = (before == mark) | (before == 10) | (before == 34) | (before == 32)
            if (begins & (zero == 48) & (after - 48 < 10)).any():
                return True
            last = (last + block)[-2:]
    return False


class TextFile:
    """A plain, gzip or zstd file; text in another encoding is converted to UTF-8.

    Parameters
    ----------
    path : Path
    encoding : str
        A Python codec name. "utf-8" bytes are passed on unchecked, for the reader to check.
    """

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        self.path = path
        self._separators: tuple[bytes, bytes] | None = None
        try:
            self.codec = codecs.lookup(encoding).name
        except LookupError:
            raise SettingError(got("encoding must be the name of a text encoding", encoding=encoding)) from None

    def __repr__(self) -> str:
        return f"TextFile({str(self.path)!r}, {self.codec})"

    def with_separator(self, old: str, new: str) -> TextFile:
        """The same file with another separator between the cells."""
        file = TextFile(self.path, self.codec)
        file._separators = old.encode(), new.encode()
        return file

    @property
    def _is_plain(self) -> bool:
        return self.codec == "utf-8" and self._separators is None

    def source(self) -> Path | io.BytesIO:
        """What polars reads: the path if it can, else the bytes."""
        return self.path if self._is_plain and self._magic()[0] in _READ_BY_POLARS else io.BytesIO(self.read())

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file, decompressed and in UTF-8; InputError if it cannot be read."""
        try:
            with self._decompressed() as stream:
                if self._is_plain:
                    yield stream
                else:
                    raw = stream.read()
                    raw = raw if self.codec == "utf-8" else raw.decode(self.codec).encode()
                    yield io.BytesIO(raw if self._separators is None else raw.replace(*self._separators))
        except UnicodeDecodeError as fault:
            raise input_error(
                f"the file must be {self.codec}, but byte {fault.start + 1} is not",
                file=str(self.path),
                value=fault.object[fault.start : fault.start + 10],
                remedy="See the option encoding.",
            ) from None
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, csv.Error) as problem:
            raise input_error(f"the file cannot be read ({problem})", file=str(self.path)) from None

    def _magic(self) -> tuple[str, bytes]:
        """How the file is compressed, by its first bytes ("" if it is not), and these."""
        with self.path.open("rb") as file:
            start = file.read(6)
        return next((kind for kind, magic in COMPRESSIONS.items() if start.startswith(magic)), ""), start

    def _decompressed(self) -> IO[bytes]:
        kind, _ = self._magic()
        if kind == "zip":
            return _unzipped(self.path)
        if kind == "zstd":
            return io.BytesIO(_unzstd(self.path))
        openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "": open}
        return cast(IO[bytes], openers[kind](self.path, "rb"))

    def read(self) -> bytes:
        """All bytes, decompressed and in UTF-8."""
        with self.open() as stream:
            return stream.read()

    def first_lines(self, n: int) -> list[str]:
        """At most `n` first lines that are not blank, without line ends.

        Raises
        ------
        InputError
            The file has blank lines only, is UTF-16, or cannot be decompressed.
        """
        with self.open() as stream:
            raw = stream.read(FIRST_BYTES)
            if len(raw) == FIRST_BYTES:  # up to the end of the line
                raw += stream.readline()
        found = not_a_table(raw)
        if found:
            what, remedy = found
            rule = f"a table must be a text file, Parquet or Arrow, but this is {what}"
            raise input_error(rule, file=str(self.path), remedy=remedy)
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw.split(b"\n", 1)[0]:
            raise input_error(
                "a text table must be UTF-8, but this is UTF-16 or no text: zero bytes in the first line",
                file=str(self.path),
                line=1,
                value=raw[:8],
                remedy='Give its encoding ("utf-16") or format, or save it as UTF-8.',
            )
        text = raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")
        lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()][:n]
        if not lines:
            raise input_error("a table must not be empty, but the file has blank lines only", file=str(self.path))
        return lines

    def raw_lines(self) -> Iterator[bytes]:
        """The lines as bytes."""
        with self.open() as stream:
            yield from stream

    def records(self, separator: str) -> Iterator[tuple[int, list[str]]]:
        """The records, each with its first line, counted from 1; a blank line is an empty record."""
        with self.open() as stream:
            reader = csv.reader(
                io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline=""), delimiter=separator
            )
            line = 1
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1

    def lines(self) -> pl.Series:
        """All lines without line ends, fast; a blank line is null."""
        return _lines(self.source())


def _lines(source: Path | io.BytesIO) -> pl.Series:
    table = pl.read_csv(
        source, separator="\x01", has_header=False, quote_char=None, infer_schema_length=0, encoding="utf8-lossy"
    )
    return table.to_series()


def _unzipped(path: Path) -> IO[bytes]:
    """The one file in a zip archive."""
    archive = zipfile.ZipFile(path)
    names = [info.filename for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
    if "xl/workbook.xml" in names:
        raise input_error(
            "an Excel workbook is no text file",
            file=str(path),
            remedy='Give the format xlsx, or name it .xlsx; reading it needs pip install "anyfm[excel]".',
        )
    if len(names) != 1:
        raise input_error(
            f"a zip archive must hold one file, but this one holds {len(names)}",
            file=str(path),
            value=names[:4],
            remedy="Unpack it and give a glob.",
        )
    return archive.open(names[0])


def _unzstd(path: Path) -> bytes:
    """The bytes of a zstd file. polars can decompress it, as a table with one column of lines."""
    problem = ""
    try:
        lines = _lines(path)
    except READ_ERRORS as error:
        problem = f" ({error})"
    # some versions of polars return the bytes that they cannot decompress
    if problem or (len(lines) and (lines[0] or "").startswith("(\ufffd/\ufffd")):
        raise input_error(f"the compressed file cannot be decompressed{problem}", file=str(path))
    return ("\n".join(lines.fill_null("").to_list()) + "\n").encode()
