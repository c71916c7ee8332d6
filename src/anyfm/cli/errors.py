"""Errors as one plain line: no traceback for anything the user can correct."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from anyfm.cli.options import in_options
from anyfm.core.errors import AnyfmError, DivergenceError, SettingError
from anyfm.core.stdout import discard_stdout, printable

FAILED = 2
INTERRUPTED, TERMINATED = 130, 143  # 128 and the number of the signal, as in shells

_UsageError: Any = typer.BadParameter.__mro__[1]  # typer does not export the base class of its errors


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends what runs as Ctrl-C does."""


class _Signals:
    """Which of the two signals came last."""

    exit_status = INTERRUPTED


def catch_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, with what is finished saved and temporary files deleted."""

    def terminate(*_: object) -> None:
        _Signals.exit_status = TERMINATED
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)


def interrupted() -> typer.Exit:
    """What a command raises that was interrupted by Ctrl-C (status 130) or SIGTERM (143)."""
    return typer.Exit(_Signals.exit_status)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an expected error into ``error: …`` on standard error and exit status 2.

    Raises
    ------
    typer.Exit
        With status 2 after an error, 130 after Ctrl-C, 143 after SIGTERM, 1 after a closed pipe.
    """
    try:
        yield
        sys.stdout.flush()  # so that a closed pipe is noticed here and not at exit
        return
    except (SettingError, DivergenceError) as error:
        text = f"error: {in_options(str(error))}"
    except AnyfmError as error:
        text = f"error: {error}"
    except _UsageError as error:
        text = f"error: {_usage_text(error)}"
    except BrokenPipeError:
        discard_stdout()
        raise typer.Exit(1) from None
    except OSError as error:
        discard_stdout()
        text = f"error: {error.strerror or error}" + (f" (file {error.filename})" if error.filename else "")
    except MemoryError:
        text = "error: there is not enough memory. Give fewer rows, or raise --min-count"
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n" if _Signals.exit_status == INTERRUPTED else "terminated\n")
        raise interrupted() from None
    sys.stderr.write(printable(text) + "\n")
    raise typer.Exit(FAILED)


def _usage_text(error: Any) -> str:
    """One line about a wrong use of a command, with the nearest option or where to find help."""
    nearest = getattr(error, "possibilities", None)
    text = " ".join((error.message if nearest else error.format_message()).split()).rstrip(".")
    if "Did you mean" in text:
        return text
    if nearest:
        return f"{text}. Did you mean {nearest[0]}?"
    return f"{text}. See {error.ctx.command_path} --help" if error.ctx else text
