"""``anyfm serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from anyfm.cli.options import option
from anyfm.core.errors import MissingDependencyError


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="DIR or NAME=DIR: a saved model, or a directory with one for each version."
        ),
    ],
    items: Annotated[
        list[str] | None,
        option("Data", "[NAME=]FILE", "A table of items that the model (NAME, if there are several) ranks."),
    ] = None,
    key: Annotated[str | None, option("Data", "COLUMN", "The column that names the items.")] = None,
    host: Annotated[str, option("Runtime", "ADDRESS", "Listen here; 0.0.0.0: on all interfaces.")] = "127.0.0.1",
    port: Annotated[int, option("Runtime", "INTEGER", "Listen on this port; 0: on any free one.")] = 8000,
    workers: Annotated[int, option("Runtime", "INTEGER", "Processes that answer requests.")] = 1,
    token_file: Annotated[
        str | None,
        option("Runtime", "FILE", "Requests must carry the token in this file; or set the variable ANYFM_TOKEN."),
    ] = None,
    max_bytes: Annotated[int, option("Runtime", "INTEGER", "The largest body of a request.")] = 4_000_000,
    timeout: Annotated[
        float, option("Runtime", "SECONDS", "In which a request must arrive, and in which it is answered.")
    ] = 30.0,
    reload_seconds: Annotated[
        float, option("Runtime", "SECONDS", "How often to look whether a model was replaced.")
    ] = 1.0,
    drain_seconds: Annotated[
        float, option("Runtime", "SECONDS", "How long to serve on after SIGTERM, saying that it is not ready.")
    ] = 1.0,
    log_level: Annotated[
        str, option("Output", "LEVEL", "debug, info, warning or error; info has every request.")
    ] = "info",
) -> None:
    """Serve models over HTTP: the Open Inference Protocol, and rows as JSON.

    A model is loaded again when its directory is replaced, as saving a model does. docs/serving.md describes requests.

    Examples:
    anyfm serve model --port 8000
    anyfm serve clicks=models/clicks ratings=models/ratings --workers 2
    anyfm serve model --items films.parquet --key film
    """
    try:
        from anyfm.serving.options import ServeOptions
        from anyfm.serving.server import serve as run
    except ImportError as error:
        raise MissingDependencyError(f'serving needs {error.name}: pip install "anyfm[serve]"') from error
    run(
        ServeOptions(
            models=tuple(models),
            items=tuple(items or ()),
            key=key,
            host=host,
            port=port,
            workers=workers,
            token_file=token_file,
            max_bytes=max_bytes,
            timeout=timeout,
            reload_seconds=reload_seconds,
            drain_seconds=drain_seconds,
            log_level=log_level,
        )
    )
