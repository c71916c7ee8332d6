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
from typing import IO, Any

import polars as pl

from anyfm.core.errors import InputError, SettingError, located

READ_ERRORS = (OSError, RuntimeError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises at bad bytes; a panic of it is no exception by Python's rules, but is caught as one."""

FIRST_BYTES = 1 << 16
csv.field_size_limit(2**31 - 1)


class TextFile:
    """Opens a plain, gzip or zstd file; bytes in another encoding are turned into UTF-8 on the way.

    Parameters
    ----------
    path : Path
    encoding : str
        A Python codec name. "utf-8" is passed on as it is, for the reader to check.
    """

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        self.path = path
        try:
            self.codec = codecs.lookup(encoding).name
        except LookupError:
            raise SettingError(f"encoding must be the name of a text encoding, got encoding={encoding!r}") from None

    def source(self) -> Path | io.BytesIO:
        """What polars reads: the path where it can, else the bytes."""
        if self.codec == "utf-8":
            return self.path
        return io.BytesIO(self.read())

    def open(self) -> IO[bytes]:
        """The bytes of the file, unpacked and in UTF-8."""
        with self.path.open("rb") as file:
            magic = file.read(4)
        stream: Any
        if magic[:2] == b"\x1f\x8b":
            stream = gzip.open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        elif magic == b"\x28\xb5\x2f\xfd":
            stream = io.BytesIO(_unzstd(self.path))
        else:
            stream = self.path.open("rb")
        if self.codec == "utf-8":
            return stream  # type: ignore[no-any-return]
        try:
            with stream:
                return io.BytesIO(stream.read().decode(self.codec).encode())
        except UnicodeDecodeError as fault:
            raise InputError(
                located(
                    f"the file must be {self.codec}, but byte {fault.start + 1} is not",
                    file=str(self.path),
                    value=fault.object[fault.start : fault.start + 10],
                    remedy="See the option encoding.",
                )
            ) from None

    def read(self) -> bytes:
        """All bytes, unpacked and in UTF-8."""
        with self._named_errors(), self.open() as stream:
            return stream.read()

    def first_lines(self, n: int) -> list[str]:
        """At most `n` first lines that are not blank, without their ends.

        Raises
        ------
        InputError
            The file has blank lines only, is UTF-16, or cannot be unpacked.
        """
        with self._named_errors(), self.open() as stream:
            raw = _whole_lines(stream)
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw.split(b"\n", 1)[0]:
            raise InputError(
                located(
                    "a text table must be UTF-8, but this is UTF-16 or no text: zero bytes in the first line",
                    file=str(self.path),
                    line=1,
                    value=raw[:8],
                    remedy='Say its encoding ("utf-16") or format, or save it as UTF-8.',
                )
            )
        text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
        lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()][:n]
        if not lines:
            problem = "a table must not be empty, but the file has blank lines only"
            raise InputError(located(problem, file=str(self.path)))
        return lines

    def cells(self, lines: list[str], separator: str) -> list[list[str]]:
        """Some first lines as cells, a record each."""
        with self._named_errors():
            return [cells for cells in csv.reader(lines, delimiter=separator) if cells]

    def raw_lines(self) -> Iterator[bytes]:
        """The lines as bytes."""
        with self._named_errors(), self.open() as stream:
            yield from stream

    def records(self, separator: str) -> Iterator[tuple[int, list[str]]]:
        """The records, each with the line it begins in, counted from 1; a blank line is an empty record."""
        with self._named_errors(), self.open() as stream:
            text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
            reader = csv.reader(text, delimiter=separator)
            line = 1
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1

    def lines(self) -> pl.Series:
        """All lines without their ends, fast; a blank line is null."""
        return _lines(self.source())

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, zlib.error, csv.Error) as problem:
            raise InputError(located(f"the file cannot be read ({problem})", file=str(self.path))) from None


def _lines(source: Path | io.BytesIO) -> pl.Series:
    frame = pl.read_csv(
        source, separator="\x01", has_header=False, quote_char=None, infer_schema_length=0, encoding="utf8-lossy"
    )
    return frame.to_series()


def _whole_lines(stream: IO[bytes]) -> bytes:
    """The first bytes up to the end of a line; more where the first line is longer."""
    raw = stream.read(FIRST_BYTES)
    if len(raw) < FIRST_BYTES:
        return raw
    while b"\n" not in raw:
        more = stream.read(FIRST_BYTES)
        if not more:
            return raw
        raw += more
    return raw[: raw.rindex(b"\n")]


def _unzstd(path: Path) -> bytes:
    """The bytes of a zstd file. Only polars can unpack it here, as a table with one column of lines."""
    try:
        lines = _lines(path)
    except READ_ERRORS as problem:
        raise InputError(located(f"the compressed file cannot be unpacked ({problem})", file=str(path))) from None
    if len(lines) and (lines[0] or "").startswith(
        "(\ufffd/\ufffd"
    ):  # some versions of polars pass on what they cannot unpack
        raise InputError(located("the compressed file cannot be unpacked", file=str(path)))
    return ("\n".join(lines.fill_null("").to_list()) + "\n").encode()
