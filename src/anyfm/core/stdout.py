"""Standard output of which every byte arrives, or an error is raised."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any


class _Closed(io.TextIOBase):
    """Standard output that was closed before the program began."""

    encoding = "utf-8"

    def write(self, _: str) -> int:
        raise OSError(errno.EBADF, "standard output is closed")


def check_standard_streams() -> None:
    """Let standard output raise an OSError for what cannot be written, and write characters it lacks as escapes.

    Without buffer (``python -u``, PYTHONUNBUFFERED) Python drops what the system did not take of a write.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the end
    stream: Any = sys.stdout
    if stream is None:
        sys.stdout = _Closed()
    elif isinstance(getattr(stream, "buffer", None), io.RawIOBase):
        buffer = io.BufferedWriter(stream.buffer)
        sys.stdout = io.TextIOWrapper(buffer, encoding=stream.encoding, errors="backslashreplace", line_buffering=True)
    elif isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def write_stdout(content: bytes) -> None:
    """Write bytes to standard output, all of them.

    Raises
    ------
    OSError
        It is closed, its disk is full, or its reader has ended.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # a text stream without bytes, as in notebooks
        sys.stdout.write(content.decode())
        sys.stdout.flush()
        return
    sys.stdout.flush()
    view = memoryview(content)
    while view:
        view = view[buffer.write(view) or 0 :]
    buffer.flush()


def discard_stdout() -> None:
    """Write what is left to nowhere, once writing has failed: Python flushes standard output once more at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # standard output is no file, as in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def can_print(text: str) -> bool:
    """Whether standard output has these characters."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return False
    return True


def printable(text: str) -> str:
    """`text` with its control characters and changes of direction as escapes, so that data cannot steer a terminal."""
    return text.translate(_ESCAPES)


_ESCAPES = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (
        *(code for code in range(32) if code not in (9, 10)),
        *range(127, 160),
        0x061C,
        *range(0x200E, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    )
}
