"""What most people do, in one script: `python tests/smoke.py` with any versions of the packages (`make minimum`)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

import anyfm
from anyfm.estimators import FMClassifier


def command(*arguments: object) -> str:
    line = [sys.executable, "-W", "error::DeprecationWarning:anyfm", "-m", "anyfm", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def main(directory: Path) -> None:
    """Generate, train, evaluate, predict, explain and report on the command line; load, save and fit in Python."""
    table, model = directory / "clicks.csv", directory / "model"
    command("generate", table, "--rows", 2000)
    command("train", table, "--target", "click", "--epochs", 2, "--no-search", "--out", model)
    command("evaluate", model, table, "--json")
    assert len(command("predict", model, table).splitlines()) == 2001
    command("explain", model, table)
    command("inspect", model)
    command("report", model, table, "--out", directory / "report.html")
    assert (directory / "report.html").stat().st_size > 100_000
    for arguments in (["--help"], ["train", "--help"], ["models"]):
        assert command(*arguments)
    for name in anyfm.models.MODELS:
        trained = anyfm.train(table, "click", model=name, search=False, epochs=1)
        trained.save(directory / name)
        assert np.array_equal(anyfm.load(directory / name).predict(table), trained.predict(table))
    X = np.random.default_rng(0).integers(0, 5, (300, 4))
    assert FMClassifier(search=False, epochs=2).fit(X, X[:, 0] > 2).predict_proba(X).shape == (300, 2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
    names = ["numpy", "polars", "scikit-learn", "safetensors", "threadpoolctl", "typer", "plotly", "jinja2"]
    print("works with", ", ".join(f"{name} {version(name)}" for name in names))
