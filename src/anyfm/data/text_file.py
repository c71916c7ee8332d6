"""A text file as UTF-8 bytes, whatever its compression and encoding."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import polars as pl

from anyfm.core.errors import SettingError, got
from anyfm.data.messages import input_error

READ_ERRORS = (OSError, RuntimeError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises for bad bytes; its panics are no Exception to Python, but can be caught."""

FIRST_BYTES = 1 << 16
csv.field_size_limit(2**31 - 1)


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
        try:
            self.codec = codecs.lookup(encoding).name
        except LookupError:
            raise SettingError(got("encoding must be the name of a text encoding", encoding=encoding)) from None

    def __repr__(self) -> str:
        return f"TextFile({str(self.path)!r}, {self.codec})"

    def source(self) -> Path | io.BytesIO:
        """What polars reads: the path if it can, else the bytes."""
        return self.path if self.codec == "utf-8" else io.BytesIO(self.read())

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file, decompressed and in UTF-8; InputError if it cannot be read."""
        try:
            with self._decompressed() as stream:
                yield stream if self.codec == "utf-8" else io.BytesIO(stream.read().decode(self.codec).encode())
        except UnicodeDecodeError as fault:
            raise input_error(
                f"the file must be {self.codec}, but byte {fault.start + 1} is not",
                file=str(self.path),
                value=fault.object[fault.start : fault.start + 10],
                remedy="See the option encoding.",
            ) from None
        except (OSError, EOFError, zlib.error, csv.Error) as problem:
            raise input_error(f"the file cannot be read ({problem})", file=str(self.path)) from None

    def _decompressed(self) -> IO[bytes]:
        with self.path.open("rb") as file:
            magic = file.read(4)
        if magic[:2] == b"\x1f\x8b":
            return cast(IO[bytes], gzip.open(self.path, "rb"))
        if magic == b"\x28\xb5\x2f\xfd":
            return io.BytesIO(_unzstd(self.path))
        return self.path.open("rb")

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
