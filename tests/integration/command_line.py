"""Running commands of anyfm in this process."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from anyfm.cli import app


def anyfm(*arguments, status=0):
    """Run a command and return its result; the test fails where the exit status is another."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exit_code != status:
        pytest.fail(f"status {result.exit_code}: {result.stderr}\n{result.exception!r}")
    return result


def json_of(result):
    """The last line of standard output, parsed."""
    return json.loads(result.stdout.splitlines()[-1])
