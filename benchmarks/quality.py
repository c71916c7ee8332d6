"""Quality of every model with its default settings on real tables, beside logistic regression and boosted trees.

    python -m benchmarks.quality [--data FOLDER] [--sets adult bank …] [--models linear fm …] [--peers …] [--seeds 3]

The tables are read raw, encoded with the inferred schema, trained with early stopping on the validation rows, and
measured once on the test rows. Prints a Markdown table: test AUC and logloss, RMSE for ratings, mean over the seeds
with the standard deviation of the loss. LogisticRegression (C=1), and Ridge for ratings, see the same one-hot rows;
LightGBM, where it is installed, the same raw columns (boosted.py).
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge

from anyfm import metrics
from anyfm.core.rows import Rows
from anyfm.core.settings import DataSettings, ValidationSettings
from anyfm.datasets.movielens import LIKED
from anyfm.models import MODELS
from anyfm.pipeline import PreparedData, fit, prepare
from benchmarks import boosted

Frames = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]
DATA = Path(os.environ.get("ANYFM_TEST_DATA", str(Path(__file__).parents[2] / "shared" / "data")))


@dataclass(frozen=True)
class Problem:
    """A raw table in three parts, its target, and what has to be said of its fields."""

    target: str
    read: Callable[[Path], Frames]
    fields: dict[str, Any] = field(default_factory=dict)
    task: str = "auto"


def _adult(data: Path) -> Frames:
    frame, test = pl.read_csv(data / "adult/train.csv"), pl.read_csv(data / "adult/test.csv")
    cut = len(frame) - len(frame) // 10
    return frame[:cut], frame[cut:], test


def _shuffled(frame: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    return frame[np.random.default_rng(seed).permutation(len(frame))]


def _tenths(frame: pl.DataFrame) -> Frames:
    eight, nine = 8 * len(frame) // 10, 9 * len(frame) // 10
    return frame[:eight], frame[eight:nine], frame[nine:]


def _bank(data: Path) -> Frames:
    return _tenths(_shuffled(pl.read_csv(data / "bank/bank.csv")))


def _criteo(data: Path) -> Frames:
    names = ["click", *(f"I{i}" for i in range(1, 14)), *(f"C{i}" for i in range(1, 27))]
    path = data / "criteo-10k/criteo-10k.tsv"
    return _tenths(pl.read_csv(path, separator="\t", has_header=False, new_columns=names, infer_schema_length=None))


def _lastfm(data: Path) -> Frames:
    train, valid, test = (pl.read_csv(data / f"lastfm-tag/{part}.csv") for part in ("train", "valid", "test"))
    return train, valid, test


def _ratings(data: Path, *, side: bool) -> Frames:
    folder = data / "ml-100k"
    rating = ["user", "film", "rating", "timestamp"]
    parts = [_tabs(folder / name, rating) for name in ("u1.base", "u1.test")]
    users = _pipes(folder / "u.user").rename(
        dict(zip(_COLUMNS[:4], ["user", "age", "gender", "occupation"], strict=True))
    )
    genres = [line.split("|")[0] for line in (folder / "u.genre").read_text().splitlines() if line]
    items = _pipes(folder / "u.item")
    flags = items.select(_COLUMNS[5 : 5 + len(genres)])
    tags = ["|".join(genre for genre, flag in zip(genres, row, strict=True) if flag == 1) for row in flags.rows()]
    films = items.select(film=pl.col(_COLUMNS[0]), genres=pl.Series(tags))
    if side:
        parts = [
            part.join(users.select("user", "age", "gender", "occupation"), on="user", maintain_order="left").join(
                films, on="film", maintain_order="left"
            )
            for part in parts
        ]
    base, test = (part.drop("timestamp") for part in parts)
    base = _shuffled(base)
    cut = len(base) - len(base) // 10
    return base[:cut], base[cut:], test


_COLUMNS = [f"column_{i}" for i in range(40)]


def _tabs(path: Path, names: list[str]) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", has_header=False, new_columns=names)


def _pipes(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="|", has_header=False, encoding="latin1", infer_schema_length=None)


def _liked(data: Path) -> Frames:
    liked = (pl.col("rating") >= LIKED).cast(pl.Int64)
    train, valid, test = (part.select(pl.exclude("rating"), liked=liked) for part in _ratings(data, side=True))
    return train, valid, test


def _flights(_: Path) -> Frames:
    from examples.flights import KNOWN_BEFORE, data_folder, landed_flights

    flights, _canceled = landed_flights(data_folder())
    day = pl.col("day_of_year") % 10
    columns = [*KNOWN_BEFORE, "late"]
    train = flights.filter((day != 0) & (day != 5)).select(columns)
    return train, flights.filter(day == 5).select(columns), flights.filter(day == 0).select(columns)


def _flight_kinds() -> dict[str, Any]:
    from examples.flights import KINDS

    return dict(KINDS)


RATING_IDS = {"user": "categorical", "film": "categorical"}
PROBLEMS = {
    "adult": Problem("income", _adult),
    "bank": Problem("deposit", _bank, {"duration": "ignore"}),
    "criteo-10k": Problem("click", _criteo),
    "lastfm-tag": Problem("label", _lastfm),
    "ml-100k liked": Problem("liked", _liked, RATING_IDS),
    "flights": Problem("late", _flights, _flight_kinds()),
    "ml-100k": Problem("rating", lambda data: _ratings(data, side=False), RATING_IDS, "regression"),
    "ml-100k side": Problem("rating", lambda data: _ratings(data, side=True), RATING_IDS, "regression"),
}


def one_hot(rows: Rows, n_features: int) -> csr_matrix:
    """The rows as a sparse matrix of shape (n_rows, n_features)."""
    offsets = rows.offsets if rows.offsets is not None else np.arange(rows.n_rows + 1) * rows.ids.shape[1]
    values = np.ones(rows.n_entries) if rows.values is None else rows.values.reshape(-1)
    return csr_matrix((values, rows.ids.reshape(-1), offsets), shape=(rows.n_rows, n_features))


def peer(data: PreparedData, test: Rows) -> dict[str, float]:
    """scikit-learn on the same encoding."""
    x, x_test = one_hot(data.train, data.n_features), one_hot(test, data.n_features)
    if not data.task.is_classification:
        logits = Ridge(alpha=1.0).fit(x, data.train.y).predict(x_test)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logits = LogisticRegression(C=1.0, max_iter=500).fit(x, data.train.y).decision_function(x_test)
    assert test.y is not None
    return metrics.evaluate(data.task, test.y, logits)


def encoded(problem: Problem, train: pl.DataFrame, valid: pl.DataFrame) -> PreparedData:
    """The training and validation rows as models see them."""
    settings = DataSettings(target=problem.target, fields=problem.fields, task=problem.task)
    return prepare(train, settings, ValidationSettings(valid=valid))


def measure(name: str, data: Path, models: list[str], peers: list[str], seeds: int) -> dict[str, str]:
    """One line of the table: what to print of each model on one problem."""
    problem = PROBLEMS[name]
    train, valid, test = problem.read(data)
    prepared = encoded(problem, train, valid)
    assert prepared.encoder is not None
    test_rows = prepared.encoder.encode(test, labelled=True).rows
    assert test_rows.y is not None
    line = {}
    if "sklearn" in peers:
        line["sklearn"] = _cell([peer(prepared, test_rows)])
    if "lightgbm" in peers:
        line["lightgbm"] = _cell([boosted.boosted(prepared, train, valid, test, test_rows.y)])
    for model in models:
        runs = []
        for seed in range(seeds):
            trained = fit(prepared, model=model, settings={"seed": seed})
            runs.append(trained.evaluate(test) | {"valid": trained.metrics[loss_name(trained.metrics)]})
        line[model] = _cell(runs)
    return line


def loss_name(scores: dict[str, float]) -> str:
    return "logloss" if "logloss" in scores else "rmse"


def _cell(runs: list[dict[str, float]]) -> str:
    name = loss_name(runs[0])
    losses = [run[name] for run in runs]
    text = f"{mean(losses):.4f}" + (f" ± {pstdev(losses):.4f}" if len(runs) > 1 else "")
    auc = f"{mean(run['auc'] for run in runs):.4f} / " if "auc" in runs[0] else ""
    valid = f" ({mean(run['valid'] for run in runs):.4f})" if "valid" in runs[0] else ""
    return auc + text + valid


def _peers() -> list[str]:
    return ["sklearn", "lightgbm"] if boosted.installed() else ["sklearn"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="*", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--peers", nargs="*", choices=["sklearn", "lightgbm"], default=_peers())
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    columns = [*arguments.peers, *arguments.models]
    print(f"| set | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in arguments.sets:
        line = measure(name, arguments.data, arguments.models, arguments.peers, arguments.seeds)
        print(f"| {name} | {' | '.join(line[column] for column in columns)} |", flush=True)


if __name__ == "__main__":
    main()
