from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.adapters.base import Adapter, Result
from benchmarks.problems import PROBLEMS, Problem

# Beside the defaults: sizes that the problem states; no dropout, which the peers have off too; batches as theirs.
SETTINGS: dict[str, Callable[[Problem], dict[str, Any]]] = {
    "afm": lambda problem: {"attention_factors": problem.attention_factors, "dropout": 0.0},
    "deepfm": lambda problem: {
        "hidden_layer_sizes": problem.hidden_layer_sizes,
        "batch_size": problem.batch_size,
        "dropout": 0.0,
    },
}


class Anyfm(Adapter):
    def available(self, problem: Problem) -> bool:
        return True

    def run(self, problem: Problem, *, n_threads: int, validate: bool) -> Result:
        command = [sys.executable, "-m", "benchmarks.adapters.anyfm_", problem.name, str(n_threads), str(int(validate))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return Result(**json.loads(done.stdout))


def main(name: str, n_threads: int, validate: bool) -> None:
    import numpy as np

    from anyfm.core.rows import Rows
    from anyfm.engines.registry import make_engine
    from anyfm.metrics import logloss
    from anyfm.models import MODELS
    from anyfm.training.loop import epoch_order

    problem = PROBLEMS[name]
    arrays = {part: np.load(problem.paths()[f"{part}.npz"]) for part in ("train", "valid")}
    rows = {part: Rows(ids=array["ids"], y=array["y"]) for part, array in arrays.items()}
    kind = MODELS[problem.model]
    settings = {"n_factors": problem.n_factors, **SETTINGS.get(problem.model, lambda _: {})(problem)}
    model = kind(kind.settings_type(**settings))
    train = rows["train"]
    engine = make_engine(
        model, n_features=int(arrays["train"]["n_features"]), n_fields=train.ids.shape[1], n_threads=n_threads
    )
    engine.prepare(train, seed=0)
    seconds = []
    for epoch in range(1, problem.n_epochs + 1):
        began = time.perf_counter()
        engine.begin_epoch(epoch)
        engine.step(train, epoch_order(train.n_rows, 0, epoch))
        seconds.append(time.perf_counter() - began)
    valid = rows["valid"]
    loss = float(logloss(valid.y, engine.logits(valid))) if validate else None
    print(json.dumps({"seconds": seconds, "valid_logloss": loss}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), bool(int(sys.argv[3])))
