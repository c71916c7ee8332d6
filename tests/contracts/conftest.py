"""The engines as a fixture."""

from __future__ import annotations

import pytest

from .cases import ENGINES


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine. A test of every engine and model has the mark `cases.of_every_model`."""
    name: str = request.param
    if name == "torch":
        pytest.importorskip("torch")
    return name
