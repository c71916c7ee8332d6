"""The report: one page that shows what models do on a table, readable offline and on a phone."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from anyfm import __version__
from anyfm.artifact import Artifact, load_artifact
from anyfm.core.errors import InputError, MissingDependencyError, located
from anyfm.report import sections
from anyfm.report.markup import Page, escaped
from anyfm.report.measured import Measurement, measure, model_names
from anyfm.report.overview import overview

N_EXPLAINED = 20_000
_TABS = ("overview", "quality", "why", "errors", "rows")


def write_report(
    models: Sequence[str | Path | tuple[str, Artifact]],
    table: Any,
    out: str | Path,
    *,
    data: str | None = None,
    n_explained: int = N_EXPLAINED,
    read_options: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure models on a table and write the page.

    Parameters
    ----------
    models : sequence of path or (name, Artifact)
        Saved models, or models at hand; all predicting one target.
    table : path, data frame or mapping
        Rows with the target; rows held out from training tell the truth.
    out : path
        The HTML file.
    data : str, optional
        What the table is called in the page; by default its file name.
    n_explained : int
        Terms are measured on at most so many rows; everything else on all.
    read_options : mapping, optional
        Further arguments of `anyfm.data.readers.read_table`.

    Raises
    ------
    MissingDependencyError
        plotly is not installed.
    SettingError, InputError, ArtifactError
        The models predict different things, the table cannot be used, or a model cannot be read.
    """
    script = plotly_script()
    paths = [model for model in models if not isinstance(model, tuple)]
    names = iter(model_names(paths))
    loaded = [model if isinstance(model, tuple) else (next(names), load_artifact(model)) for model in models]
    called = data if data is not None else Path(table).name if isinstance(table, (str, Path)) else "the table"
    measurement = measure(loaded, table, data=called, n_explained=n_explained, read_options=read_options)
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(render(measurement, script), encoding="utf-8")
    except OSError as error:
        raise InputError(located(f"the report cannot be written: {error.strerror}", file=str(out))) from error
    return measurement


def plotly_script() -> str:
    """plotly.js, from the installed package plotly.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingDependencyError(
            "the report is drawn with plotly, which is not installed. Install it: pip install 'anyfm[report]'"
        ) from error
    return str(get_plotlyjs())


def render(measurement: Measurement, plotly: str) -> str:
    """The whole page as text.

    Parameters
    ----------
    plotly : str
        The source of plotly.js, which becomes part of the page.
    """
    page = Page()
    content = {
        "overview": overview(page, measurement),
        "quality": sections.quality(page, measurement),
        "why": sections.why(page, measurement),
        "errors": sections.errors(page, measurement),
        "rows": sections.rows(measurement),
    }
    template = resources.files("anyfm.report").joinpath("report.html").read_text(encoding="utf-8")
    names = ", ".join(model.name for model in measurement.models)
    parts = {
        "TITLE": escaped(f"{names} on {measurement.data}"),
        "HEADING": escaped(f"Predicting {measurement.target}"),
        "SUBTITLE": escaped(f"{names}, on {measurement.n_rows:,} rows of {measurement.data}", length=300),
        "MODELS": _model_choice(measurement),
        "FIGURES": page.figures_json(),
        "PLOTLY": plotly,
        "VERSION": escaped(__version__),
        **{tab.upper(): content[tab] for tab in _TABS},
    }
    filled = re.sub(r"%%([A-Z]+)%%", lambda found: parts.get(found[1], found[0]), template)
    return filled.replace("@@SCRIPTS@@", _script_hashes(template, plotly), 1)


def _model_choice(measurement: Measurement) -> str:
    if len(measurement.models) < 2:
        return ""
    options = "".join(
        f'<option value="{index}">{escaped(model.name)}</option>' for index, model in enumerate(measurement.models)
    )
    return f'<label class="choose" id="model-choice" hidden>BaseModel <select id="model">{options}</select></label>'


def _script_hashes(template: str, plotly: str) -> str:
    """The hashes of the page's own scripts, for its content security policy: nothing else in it is ever run."""
    own = [body.replace("%%PLOTLY%%", plotly) for body in re.findall(r"<script>(.*?)</script>", template, re.DOTALL)]
    digests = (base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in own)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
