"""What went wrong, in plain words: no traceback for anything the user can mend."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from anyfm.core.errors import AnyfmError

FAILED = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class PlainErrors(TyperGroup):
    """Runs a command; an error on purpose becomes ``error: …`` on standard error and exit status 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # so that a closed pipe is noticed here and not at exit
            return result
        except AnyfmError as error:
            _say(f"error: {error}")
        except BrokenPipeError:
            _forget_stdout()
            raise typer.Exit(1) from None
        except OSError as error:
            place = f" (file {error.filename})" if error.filename else ""
            _say(f"error: {error.strerror or error}{place}")
        except MemoryError:
            _say("error: there is not enough memory. Give fewer rows, or fold rare values (min_count)")
        except KeyboardInterrupt:
            _say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        raise typer.Exit(FAILED)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _forget_stdout() -> None:
    """Let nothing more be written to a closed pipe: Python flushes standard output once more at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file, as in tests
        return
