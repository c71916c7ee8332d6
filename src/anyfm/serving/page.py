"""A page to try a row by hand: a form with the columns of a model, and the contributions to the row's score."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from anyfm import __version__
from anyfm.core.errors import AnyfmError
from anyfm.explain.contributions import N_TERMS
from anyfm.serving.models import Registry, Served

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
PREFIX = "x."  # of the columns among the parameters of the query
_N_SUGGESTED, _MAX_LETTERS = 40, 120


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("anyfm.serving"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["signed"] = lambda number: f"{number:+.4f}"
    environment.filters["cut"] = lambda text: text if len(text) <= _MAX_LETTERS else text[: _MAX_LETTERS - 1] + "…"
    return environment


def render(registry: Registry, served: Served, asked: Mapping[str, str]) -> str:
    """The page.

    Parameters
    ----------
    asked : mapping of str to str
        Parameters of the query: the values of columns by ``x.COLUMN``. A column that is absent or empty is missing.
    """
    inputs = _inputs(served)
    is_asked = any(name.startswith(PREFIX) for name in asked)
    given = {name: asked.get(PREFIX + name, "") if is_asked else typical for name, (typical, _) in inputs.items()}
    explained, problem = None, None
    try:
        explained = served.model.explain([{name: text or None for name, text in given.items()}])
    except AnyfmError as error:
        problem = str(error)
    terms = [] if explained is None else explained.terms(0, top=N_TERMS)
    sizes = [abs(term.contribution) for term in terms if term.kind != "bias"]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            served=served,
            choices=[(each.name, each.version) for each in registry.all()],
            inputs=[(name, given[name], suggested) for name, (_, suggested) in inputs.items()],
            prefix=PREFIX,
            explained=explained,
            terms=terms,
            largest=max(sizes, default=0.0) or 1.0,
            problem=problem,
            is_classification=served.model.task.is_classification,
            logit_is_prediction=served.model.task.logit_is_prediction,
            version=__version__,
        )
    )


def _inputs(served: Served) -> dict[str, tuple[str, list[str]]]:
    """For each column of the model a typical value and some to choose from."""
    encoder = served.model.artifact.require_encoder()
    found: dict[str, tuple[str, list[str]]] = {}
    for field in encoder.fields:
        if field.column in found:
            continue
        values: list[Any] = []
        if field.name == field.column:
            values = field.encoder.examples(_N_SUGGESTED)
        texts = [str(value) for value in values]
        found[field.column] = (texts[0] if texts else "", texts)
    return found
