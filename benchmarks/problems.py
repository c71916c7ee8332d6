"""The problems that every system is timed on: generated clicks in the shape of Criteo's, already integer-coded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "results" / "problems"


@dataclass(frozen=True)
class Problem:
    """One table and one model; the same rows for everyone."""

    model: str
    n_factors: int
    n_epochs: int = 3
    n_rows: int = 500_000
    n_valid: int = 50_000
    seed: int = 1
    hidden_layer_sizes: tuple[int, ...] = ()  # DeepFM
    attention_factors: int = 16  # AFM
    batch_size: int = 4096  # of systems that train in batches

    @property
    def name(self) -> str:
        return f"{self.model}-k{self.n_factors}-{self.n_rows // 1000}k"

    def paths(self) -> dict[str, Path]:
        """The files of this problem, written on first use: arrays, and the same rows as libsvm and libffm text."""
        stem = FOLDER / f"criteo-{self.n_rows}-{self.seed}"
        paths = {
            f"{part}.{kind}": stem.with_name(f"{stem.name}-{part}.{kind}")
            for part in ("train", "valid")
            for kind in ("npz", "svm", "ffm")
        }
        if not all(path.exists() for path in paths.values()):
            _write(self, paths)
        return paths


def _write(problem: Problem, paths: dict[str, Path]) -> None:
    import polars as pl

    from anyfm.data import infer_schema
    from anyfm.data.encoder import Encoder
    from anyfm.datasets.synthetic import criteo_like

    FOLDER.mkdir(parents=True, exist_ok=True)
    made = criteo_like(problem.n_rows + problem.n_valid, seed=problem.seed)
    frame = pl.DataFrame(dict(made.columns))
    train, valid = frame[: problem.n_rows], frame[problem.n_rows :]
    encoder = Encoder.fit(train, infer_schema(train, target="click", min_count=1))
    for part, rows in (
        ("train", encoder.encode(train, labelled=True).rows),
        ("valid", encoder.encode(valid, labelled=True).rows),
    ):
        assert rows.y is not None
        np.savez(paths[f"{part}.npz"], ids=rows.ids, y=rows.y, n_features=encoder.n_features)
        for kind in ("svm", "ffm"):
            with open(paths[f"{part}.{kind}"], "w") as file:
                for label, ids in zip(rows.y.astype(int).tolist(), rows.ids.tolist(), strict=True):
                    cells = (f"{field}:{i}:1" if kind == "ffm" else f"{i}:1" for field, i in enumerate(ids))
                    file.write(f"{label} {' '.join(cells)}\n")


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("fm", 8),
        Problem("ffm", 4),
        Problem("afm", 16, n_epochs=1, n_rows=50_000),
        Problem("deepfm", 16, n_epochs=1, hidden_layer_sizes=(400, 400, 400)),
    )
}
