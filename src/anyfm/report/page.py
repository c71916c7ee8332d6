"""The report: one HTML file that shows what models do on a table, readable offline and on a phone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyfm import __version__
from anyfm.artifact import Artifact, load_artifact
from anyfm.core.atomic import replaced_file
from anyfm.core.errors import InputError, MissingDependencyError, located
from anyfm.core.forks import check_polars
from anyfm.explain.contributions import N_TERMS
from anyfm.report import charts
from anyfm.report.card import card_of
from anyfm.report.charts import Figure
from anyfm.report.figures import figures_of
from anyfm.report.measurement import Measurement, measure, model_names

N_EXPLAINED = 20_000
_PLOT_HEIGHT, _CAPTION_HEIGHT, _LINE_HEIGHT, _LINE_LENGTH = 340, 70, 22, 70  # pixels; letters of a caption's line
# Metric: its name, what it means, and whether higher is better (None: neither).
METRICS: dict[str, tuple[str, str, bool | None]] = {
    "logloss": ("logloss", "mean −ln of the probability of the observed class; lower is better", False),
    "auc": ("AUC", "probability that a positive row scores above a negative one; higher is better", True),
    "normalized_entropy": (
        "normalized entropy",
        "logloss divided by that of always predicting the base rate; below 1 is better than that",
        False,
    ),
    "calibration_error": (
        "calibration error",
        "mean absolute difference of mean prediction and mean target over 15 bins (ECE); lower is better",
        False,
    ),
    "calibration_ratio": ("calibration ratio", "mean predicted divided by mean observed; ideally 1", None),
    "poisson_deviance": ("Poisson deviance", "2 (y ln(y / μ) − (y − μ)) on average; lower is better", False),
    "rmse": ("RMSE", "root mean squared error, in units of the target; lower is better", False),
    "mae": ("MAE", "mean absolute error, in units of the target; lower is better", False),
    "r2": ("R²", "fraction of the target's variance that is explained; higher is better", True),
}


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
        Saved models, or models in memory; all predicting one target.
    table : path, data frame or mapping
        Rows with the target; rows held out from training give unbiased results.
    out : path
        The HTML file.
    data : str, optional
        What the table is called in the page; by default its file name.
    n_explained : int
        Explanations are measured on a random sample of at most this number of rows; everything else on all.
    read_options : mapping, optional
        Further arguments of `anyfm.data.readers.read_table`.

    Raises
    ------
    MissingDependencyError
        plotly or Jinja2 is not installed.
    SettingError, InputError, ArtifactError
        The models predict different targets, the table cannot be used, or a model cannot be read.
    """
    check_polars("a report")
    environment, plotly = _environment(), plotly_script()
    paths = [model for model in models if not isinstance(model, tuple)]
    names = iter(model_names(paths))
    loaded = [model if isinstance(model, tuple) else (next(names), load_artifact(model)) for model in models]
    called = data if data is not None else Path(table).name if isinstance(table, (str, Path)) else "the table"
    measurement = measure(loaded, table, data=called, n_explained=n_explained, read_options=read_options)
    page = _render(environment, measurement, plotly)
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(Path(out)) as file:
            file.write(page.encode(errors="replace"))
    except OSError as error:
        raise InputError(located(f"the report cannot be written: {error.strerror or error}", file=str(out))) from error
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
        raise _missing("plotly") from error
    return str(get_plotlyjs())


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(f"the report needs {package}, which is not installed: pip install 'anyfm[report]'")


def _environment() -> Any:
    """Jinja2 with the templates of this package: everything is escaped, and an unknown name is an error."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise _missing("Jinja2") from error
    environment: Any = Environment(
        loader=PackageLoader("anyfm.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"number": _number, "legend": charts.legend, "card": card_of}
    return environment


def _render(environment: Any, measurement: Measurement, plotly: str) -> str:
    """The page, with plotly.js as a part of it."""
    from markupsafe import Markup

    css, script = (str(environment.loader.get_source(environment, name)[0]) for name in ("style.css", "script.js"))
    figures = figures_of(measurement)
    template = environment.get_template("page.html.jinja")
    page: str = template.render(
        measurement=measurement,
        models=measurement.models,
        figures=figures,
        two_columns=lambda boxes: _two_columns(boxes, figures),
        metrics=METRICS,
        n_terms=N_TERMS,
        version=__version__,
        css=Markup(css),
        scripts=[Markup(plotly), Markup(script)],
        script_hashes=" ".join(f"'sha256-{_sha256(source)}'" for source in (plotly, script)),
    )
    return page


def _sha256(script: str) -> str:
    """The hash of a script for the content security policy: the browser runs no other script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _number(value: float, digits: int = 4, sign: bool = False) -> str:
    """A number with a typographic minus."""
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def _two_columns(boxes: Sequence[Any], figures: Mapping[str, Figure]) -> list[list[tuple[int, Any]]]:
    """Boxes with their number, in two columns of about the same height; a narrow screen shows them by number."""
    columns: list[list[tuple[int, Any]]] = [[], []]
    heights = [0.0, 0.0]
    for number, box in enumerate(boxes):
        figure = figures.get(box["key"], {"layout": {"height": 0}})
        lines = np.ceil(len(box["reading"]) / _LINE_LENGTH) + bool(box["below"])
        column = int(heights[0] > heights[1])
        columns[column].append((number, box))
        heights[column] += _CAPTION_HEIGHT + _LINE_HEIGHT * lines + figure["layout"].get("height", _PLOT_HEIGHT)
    return columns
