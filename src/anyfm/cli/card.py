"""``anyfm card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from anyfm.cli.options import ModelPath, general_options, option, with_options
from anyfm.cli.reading import READING, encode, open_model


@with_options(*general_options(*READING, "n_threads"))
def card(
    model: ModelPath,
    data: Annotated[str | None, option("Data", "FILE", "Measure the model on this table too.")] = None,
    out: Annotated[str, option("Output", "FILE.md", "The file to write; -: standard output.")] = "-",
    *,
    settings: dict[str, Any],
) -> None:
    """Describe a saved model in Markdown: data, metrics, limits, fields, versions.

    Examples:
    anyfm card model --out model/README.md
    anyfm card model --data test.parquet
    """
    from anyfm.core.atomic import replaced_file
    from anyfm.core.stdout import write_stdout
    from anyfm.model import load
    from anyfm.report.card import write_card

    measured = None
    if data is None:
        found = load(model)
    else:
        found, table = open_model(model, data, settings, labelled=True)
        measured = found.evaluate(encode(found, table, labelled=True)[0])
    name = Path(model).resolve().name
    text = write_card(found.artifact, name=name, measured=measured, data=None if data is None else Path(data).name)
    if out == "-":
        write_stdout(text.encode())
        return
    with replaced_file(Path(out)) as file:
        file.write(text.encode())
