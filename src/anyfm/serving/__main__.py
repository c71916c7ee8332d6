"""A worker process, started by `anyfm.serving.server`: ``python -m anyfm.serving SOCKET OPTIONS``."""

from __future__ import annotations

import json
import sys

from anyfm.core.errors import AnyfmError
from anyfm.serving.options import ServeOptions
from anyfm.serving.server import FAILED_TO_START, run_worker

if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    try:
        run_worker(
            int(sys.argv[1]),
            ServeOptions(**{**given, "models": tuple(given["models"]), "items": tuple(given["items"])}),
        )
    except AnyfmError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(FAILED_TO_START)
