"""torchfm and deepctr-torch: DeepFM and AFM with Adam, the settings their own examples take."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from benchmarks.adapters.base import Adapter, Result
from benchmarks.problems import Problem

SCRIPT = Path(__file__).parent / "torch_peers_script.py"


class TorchPeer(Adapter):
    """One of the libraries, in the Python that PEERS_PYTHON names, where they are installed."""

    program = "PEERS_PYTHON"

    def __init__(self, library: str) -> None:
        self.library = library

    def executable(self) -> str | None:
        return os.environ.get(self.program)

    def available(self, problem: Problem) -> bool:
        return problem.model in ("deepfm", "afm") and self.executable() is not None

    def run(self, problem: Problem, *, n_threads: int, validate: bool) -> Result:
        executable = self.executable()
        assert executable is not None
        paths = problem.paths()
        request = {
            "library": self.library,
            "model": problem.model,
            "train": str(paths["train.npz"]),
            "valid": str(paths["valid.npz"]) if validate else None,
            "n_factors": problem.n_factors,
            "hidden": list(problem.hidden_layer_sizes),
            "attention_factors": problem.attention_factors,
            "batch_size": problem.batch_size,
            "epochs": problem.n_epochs,
            "n_threads": n_threads,
        }
        done = subprocess.run(
            [executable, str(SCRIPT), json.dumps(request)], capture_output=True, text=True, check=True
        )
        return Result(**json.loads(done.stdout.splitlines()[-1]))
