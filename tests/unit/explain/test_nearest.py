"""Nearest values by factors: the geometry, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from anyfm.artifact import Artifact
from anyfm.core.errors import InputError, SettingError
from anyfm.data.encoder import Encoder
from anyfm.data.schema_inference import infer_schema
from anyfm.explain.nearest import _index, nearest_values
from anyfm.models import FM, FMSettings, Linear
from tests.unit.explain.models import artifact as random_artifact


@pytest.fixture
def artifact():
    """A model of one field of interest, whose factors are set by hand: a, b alike, c opposite, d rare, e zero."""
    films = ["a"] * 9 + ["b"] * 8 + ["c"] * 7 + ["d"] * 3 + ["e"] * 6
    frame = pl.DataFrame({"film": films, "user": ["u", "v", "w"] * 11, "liked": [0, 1, 1] * 11})
    encoder = Encoder.fit(frame, infer_schema(frame, target="liked"))
    factors = np.zeros((encoder.n_features, 2), np.float32)
    for feature in range(encoder.n_features):
        field, value = encoder.feature(feature)
        if field == "film":
            directions = {"a": (2, 0), "b": (3, 0.3), "c": (-1, 0), "d": (1, 0.01), "<unseen>": (5, 0)}
            factors[feature] = directions.get(value, (0, 0))
        else:
            factors[feature] = (1, 0)  # another field's values are no neighbors
    parameters = {
        "bias": np.zeros(1, np.float32),
        "linear": np.zeros(encoder.n_features, np.float32),
        "factors": factors,
    }
    return Artifact(
        model=FM(FMSettings(n_factors=2)),
        parameters=parameters,
        n_features=encoder.n_features,
        n_fields=encoder.n_fields,
        encoder=encoder,
    )


def test_nearest_first_without_itself_the_unseen_and_zeros(artifact):
    found = nearest_values(artifact, "film", "a")
    assert [value for value, _ in found] == ["d", "b", "c"]
    assert [cosine for _, cosine in found] == pytest.approx([1 / np.hypot(1, 0.01), 3 / np.hypot(3, 0.3), -1], abs=1e-6)
    assert nearest_values(artifact, "film", "a", min_count=0) == found


def test_rare_values_can_be_left_out(artifact):
    assert [value for value, _ in nearest_values(artifact, "film", "a", n=1, min_count=5)] == ["b"]


def test_the_vectors_of_ffm_count_as_one():
    made = random_artifact("ffm", n_factors=2)
    frame = pl.DataFrame({f"f{field}": [*"abcde"] * 2 for field in range(5)} | {"y": [0, 1] * 5})
    encoder = Encoder.fit(frame, infer_schema(frame, target="y"))
    made = replace(made, encoder=encoder)  # seven features in each of five fields, as the random model has
    assert encoder.n_features == made.n_features
    long = made.parameters["field_factors"][7:14].reshape(7, -1).astype(float)
    expected = long @ long[2] / np.linalg.norm(long, axis=1) / np.linalg.norm(long[2])
    found = dict(nearest_values(made, "f1", encoder.field_values("f1")[2]))
    assert found == pytest.approx({encoder.field_values("f1")[place]: expected[place] for place in (3, 4, 5, 6)})


def test_a_value_may_be_given_as_its_text(artifact):
    values = artifact.encoder.field_values("film")
    assert _index([7, 8, 9], "film", "8") == 1
    assert _index(values, "film", "a") == values.index("a")
    with pytest.raises(InputError, match=r"Did you mean Star Wars \(1977\)\?$"):
        _index(["Toy Story", "Star Wars (1977)"], "film", "star wars")


def test_what_cannot_be_asked_is_refused(artifact):
    with pytest.raises(InputError, match="'z'"):
        nearest_values(artifact, "film", "z")
    with pytest.raises(SettingError, match="film, user"):
        nearest_values(artifact, "genre", "a")
    linear = Artifact(
        model=Linear(),
        parameters={name: artifact.parameters[name] for name in ("bias", "linear")},
        n_features=artifact.n_features,
        n_fields=artifact.n_fields,
        encoder=artifact.encoder,
    )
    with pytest.raises(SettingError, match="model='linear'"):
        nearest_values(linear, "film", "a")
