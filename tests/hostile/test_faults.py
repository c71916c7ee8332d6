"""Writes, renames, links and syncs fail once, memory and threads run out: the old state or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import anyfm
from anyfm.core.errors import AnyfmError, ArtifactError
from tests.hostile.test_attacks import clicks

CALLS = ["open", "fsync", "rename", "replace", "mkdir", "link", "unlink", "chown", "chmod", "fstat", "stat"]
ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES]


class Faults:
    """Makes the n-th call of a function of `os`, or the n-th write to a file, fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, n: int, code: int) -> None:
        self.count, self._n, self._code = 0, n, code
        if name == "write":
            monkeypatch.setattr(io, "open", self._opening(io.open))
            return
        monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self._n:
                raise OSError(self._code, os.strerror(self._code))
            return real(*args, **options)

        return call

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            file = real(path, mode, *args, **options)
            if "x" in mode or "w" in mode:
                return _Writer(file, self._failing(file.write))
            return file

        return opened


class _Writer:
    def __init__(self, file: Any, write: Callable[..., Any]) -> None:
        self._file, self.write = file, write

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.fixture(scope="module")
def models() -> list[anyfm.Model]:
    return [anyfm.train(clicks(), "click", search=False, epochs=1, seed=seed, n_factors=4) for seed in (1, 2)]


def weights(model: anyfm.Model) -> str:
    content = b"".join(array.tobytes() for _, array in sorted(model.artifact.parameters.items()))
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", ["write", *CALLS])
def test_saving_leaves_the_old_model_or_the_new_one(tmp_path, models, monkeypatch, name, inside):
    """`inside`: a file of the user's in the directory has the model written file by file."""
    old, new = models
    n_raised = 0
    for code in ERRORS:
        for n in range(1, 60):
            directory = tmp_path / f"{code}-{n}"
            old.save(directory)
            if inside:
                (directory / "README.md").write_text("mine")
            with monkeypatch.context() as patch:
                faults = Faults(patch, name, n, code)
                try:
                    new.save(directory)
                    error = None
                except ArtifactError as caught:
                    error = str(caught)
            n_raised += error is not None
            found = weights(anyfm.load(directory))
            assert found in (weights(old), weights(new)), (code, n)
            if error is None or "is saved, but" in error:
                assert found == weights(new), (code, n, error)
            else:
                assert found == weights(old), (code, n, error)
            assert not inside or (directory / "README.md").read_text() == "mine"
            new.save(directory)  # and the next save succeeds and clears what was left
            assert [path.name for path in directory.iterdir() if path.name.startswith(".")] == []
            if faults.count < n:
                break
        else:
            raise AssertionError("there are more calls than were tried")
    assert n_raised > 0 or name in (
        "link",
        "unlink",
        "chown",
        "chmod",
        "rename",
        "replace",
        "mkdir",
        "stat",
        "fstat",
        "open",
    )


@pytest.mark.parametrize("name", ["open", "fstat"])
def test_loading_gives_the_model_or_an_error(tmp_path, models, monkeypatch, name):
    models[0].save(tmp_path / "m")
    for n in range(1, 40):
        with monkeypatch.context() as patch:
            faults = Faults(patch, name, n, errno.EIO)
            with contextlib.suppress(ArtifactError):
                assert weights(anyfm.load(tmp_path / "m")) == weights(models[0])
        if faults.count < n:
            return
    raise AssertionError("there are more calls than were tried")


@pytest.mark.parametrize("name", ["write", "fsync", "replace", "open"])
def test_a_file_of_scores_is_the_old_or_the_new_one(tmp_path, monkeypatch, name):
    from anyfm.data.readers import write_table

    path = tmp_path / "scores.csv"
    old, new = pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})
    for n in range(1, 20):
        write_table(old, path)
        with monkeypatch.context() as patch:
            faults = Faults(patch, name, n, errno.ENOSPC)
            try:
                write_table(new, path)
                expected = new
            except (OSError, AnyfmError):
                expected = old
        assert pl.read_csv(path).equals(expected), n
        assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv"]
        if faults.count < n:
            return


LIMITED = """
import resource, sys, threading
import numpy as np, polars as pl, anyfm, anyfm.models
from anyfm.core.errors import AnyfmError
n = 200_000
random = np.random.default_rng(0)
frame = pl.DataFrame({name: random.integers(0, 30_000, n) for name in "abc"} | {"click": random.integers(0, 2, n)})
options = dict(search=False, epochs=1, n_factors=16, fields=dict.fromkeys("abc", "categorical"))
model = anyfm.train(frame, "click", **options)
rows, expected = model.rows(frame), None
rows = rows.labelled(random.integers(0, 2, n).astype(np.float32))
expected = model.predict(rows)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
outcomes = []
for spare in [0, 1, 4, 16, 64, 256, 2048]:
    resource.setrlimit(resource.RLIMIT_AS, (used + (spare << 20), resource.RLIM_INFINITY))
    for name, call in calls.items():
        try:
            call()
            outcome = "done"
        except (MemoryError, AnyfmError, OSError) as error:
            outcome = "error"
        outcomes.append(outcome)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert np.array_equal(model.predict(rows), expected)
print(sorted(set(outcomes)))
"""
CALLS_OF = {
    "predict": '"predict": lambda: model.predict(rows)',
    "train": '"train": lambda: anyfm.pipeline.fit(prepared, settings={"epochs": 1, "n_factors": 256, "n_threads": 1})',
    "save and load": '"save": lambda: model.save(sys.argv[1]), "load": lambda: anyfm.load(sys.argv[1])',
}


LARGE_MODEL = """
from anyfm.artifact import Artifact
n_features = 800_000
parameters = {"bias": np.zeros(1, np.float32), "linear": np.zeros(n_features, np.float32),
              "factors": np.zeros((n_features, 32), np.float32)}
kind = anyfm.models.FM
settings = kind.settings_type(n_factors=32)
model = anyfm.Model(Artifact(model=kind(settings), parameters=parameters, n_features=n_features, n_fields=3))
expected = model.predict(rows)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("what", ["predict", "train", "save and load"])
def test_memory_that_runs_out_is_an_error(tmp_path, what):
    """With less and less address space; polars, which ends the process then, is kept out of the calls."""
    prepared = (
        "import anyfm.pipeline\n"
        "prepared = anyfm.pipeline.PreparedData(train=rows, valid=None, n_features=model.artifact.n_features, "
        "n_fields=3, task=model.task, format='matrix')\n"
    )
    calls = f"{prepared}calls = {{{CALLS_OF[what]}}}\n"
    if what == "save and load":
        calls = f"{LARGE_MODEL}{calls}model.save(sys.argv[1])\n"
    script = LIMITED.replace("with open(", calls + "with open(", 1)
    # So that the C library holds no free memory back, which would serve the calls.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "m"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert "error" in done.stdout or what == "predict"  # which may find all it needs in memory that was freed
    if what == "save and load":
        assert anyfm.load(tmp_path / "m").artifact.n_features == 800_000


THREADS = """
import resource, sys
import numpy as np, anyfm
from tests.hostile.test_attacks import clicks
table = clicks()
import polars as pl
table = pl.concat([table] * 20)
one = anyfm.train(table, "click", search=False, epochs=1, n_threads=1)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
two = anyfm.train(table, "click", search=False, epochs=1, n_threads=8)
assert np.array_equal(two.predict(table), one.predict(table))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_NPROC")
def test_threads_that_cannot_be_started_are_done_without():
    """The superuser has no such limit: then the same is run with as many threads as there are."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-1500:]
