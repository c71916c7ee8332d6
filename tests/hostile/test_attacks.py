"""Models by an attacker, whose checksums fit: refused or harmless, in time and memory bounded by the files' size.

`python -m tests.hostile.test_attacks` tries every change of every value; the tests try some.
"""

from __future__ import annotations

import io
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import anyfm
from anyfm.artifact import _document_checksum, _fingerprint
from anyfm.core.errors import AnyfmError, ArtifactError

VALUES = [
    None, True, -1, 0, 1.5, 10**30, 1e308, 10**400, "x", "", "\x00", "../../x", [], [None], [[]], [1, 2, 3], ["a"], {},
    {"a": 1},
]  # fmt: skip
DELETED = object()


def clicks() -> pl.DataFrame:
    n, numbers = 600, np.random.default_rng(0)
    return pl.DataFrame(
        {
            "user": [f"u{x}" for x in numbers.integers(0, 9, n)],
            "price": numbers.normal(size=n),
            "age": numbers.integers(18, 60, n),
            "tags": ["a|b", "c"] * (n // 2),
            "when": ["2024-01-01 10:00", "2023-05-05 11:00"] * (n // 2),
            "click": numbers.integers(0, 2, n),
        }
    )


class Forger:
    """A saved model whose description and vocabulary can be replaced, with checksums that fit."""

    def __init__(self, directory: Path) -> None:
        self.table = clicks()
        fields = {"price": "scaled", "tags": "tags", "when": "datetime:hour"}
        self.directory = anyfm.train(self.table, "click", fields=fields, search=False, epochs=1).save(directory)
        self.document = json.loads((directory / "model.json").read_bytes())
        self.vocabulary = (directory / "vocabulary.parquet").read_bytes()

    def places(self, value: Any = None, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The path of every value of the description, of long lists the first and the last."""
        value = self.document if not path else value
        if path and path[0] not in ("sha256", "files"):
            yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, part in items:
            if not isinstance(value, list) or key in (0, len(value) - 1):
                yield from self.places(part, (*path, key))

    def write(self, document: dict[str, Any], vocabulary: bytes | None = None) -> None:
        vocabulary = self.vocabulary if vocabulary is None else vocabulary
        document = json.loads(json.dumps(document))
        document["files"]["vocabulary.parquet"] = _fingerprint(vocabulary)
        document["sha256"] = _document_checksum(document)
        (self.directory / "vocabulary.parquet").write_bytes(vocabulary)
        (self.directory / "model.json").write_text(json.dumps(document))

    def changed(self, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
        document = json.loads(json.dumps(self.document))
        place = document
        for key in path[:-1]:
            place = place[key]
        if value is DELETED:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return document

    def attempt(self) -> str:
        """What becomes of the model that is there: anything but an AnyfmError is raised."""
        try:
            model = anyfm.load(self.directory)
        except ArtifactError:
            return "refused"
        try:
            assert np.isfinite(model.predict(self.table[:20])).all()
            model.predict_one(self.table.row(0, named=True))
            model.explain(self.table[:2])
            for shown in (model, model.history, model.schema):
                repr(shown)
                shown._repr_html_()
        except AnyfmError:
            return "refused later"
        return "loaded"


@pytest.fixture(scope="module")
def forger(tmp_path_factory: pytest.TempPathFactory) -> Forger:
    return Forger(tmp_path_factory.mktemp("attack") / "model")


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_values_of_the_wrong_type_or_size(forger: Forger):
    attempts = [(path, value) for path in forger.places() for value in (*VALUES, DELETED)]
    found = Counter()
    for path, value in random.Random(0).sample(attempts, 250):
        forger.write(forger.changed(path, value))
        found[forger.attempt()] += 1
    assert found["refused"] > 100


def test_a_few_bytes_that_stand_for_millions_of_rows(forger: Forger):
    n = 20_000_000
    zeros = np.zeros(n, np.int32)
    frame = pl.DataFrame({"field": zeros, "local_id": zeros, "value": pl.repeat("a", n, eager=True)})
    content = parquet(frame.with_columns(count=pl.lit(0.0)))
    del frame, zeros
    assert len(content) < 1_000_000
    for n_features in (forger.document["n_features"], n):
        forger.write({**forger.document, "n_features": n_features}, content)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        assert forger.attempt() == "refused"
        assert time.monotonic() - began < 2
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_value_that_occurs_many_times(forger: Forger):
    vocabulary = pl.read_parquet(io.BytesIO(forger.vocabulary))
    of_user = vocabulary.filter(pl.col("field") == 0)
    twice = vocabulary.with_columns(
        value=pl.when(pl.col("field") == 0).then(pl.lit(of_user["value"][3])).otherwise(pl.col("value"))
    )
    forger.write(forger.document, parquet(twice))
    assert forger.attempt() == "refused"


@pytest.mark.parametrize("depth", [500, 990, 100_000])
def test_deep_nesting(forger: Forger, depth: int):
    (forger.directory / "model.json").write_bytes(b'{"a":' * depth + b"1" + b"}" * depth)
    assert forger.attempt() == "refused"
    text = json.dumps(forger.document).replace('"metrics": {', '"metrics": {"a": ' + "[" * depth + "]" * depth + ", ")
    (forger.directory / "model.json").write_text(text)
    assert forger.attempt() == "refused"


@pytest.mark.parametrize("digits", [30, 400, 5000])
def test_huge_numbers(forger: Forger, digits: int):
    text = json.dumps(forger.document).replace('"n_fields": ', '"n_fields": 1' + "0" * digits)
    (forger.directory / "model.json").write_text(text)
    assert forger.attempt() == "refused"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        every = Forger(Path(temporary) / "model")
        outcomes: Counter[str] = Counter()
        for place in every.places():
            for new in (*VALUES, DELETED):
                every.write(every.changed(place, new))
                try:
                    outcomes[every.attempt()] += 1
                except Exception as error:
                    outcomes["got through"] += 1
                    print(place, new, repr(error)[:200], file=sys.stderr)
        print(dict(outcomes))
