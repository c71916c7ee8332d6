from __future__ import annotations

import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.adapters.base import Adapter, Result
from benchmarks.problems import Problem


class LibFFM(Adapter):
    """libffm's ffm-train, its own defaults (Adagrad .2, L2 2e-5, row normalization). FFM only.

    It prints training seconds without validation, summed over the epochs, to a tenth.
    """

    program = "FFM_TRAIN"

    def available(self, problem: Problem) -> bool:
        return problem.model == "ffm" and self.executable() is not None

    def run(self, problem: Problem, *, n_threads: int, validate: bool) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            for part in ("train", "valid"):
                Path(folder, f"{part}.ffm").symlink_to(problem.paths()[f"{part}.ffm"])
            executable = self.executable()
            assert executable is not None
            command = [executable, "-k", str(problem.n_factors), "-t", str(problem.n_epochs), "-s", str(n_threads)]
            command += ["-p", "valid.ffm"] if validate else []
            done = subprocess.run([*command, "train.ffm"], cwd=folder, capture_output=True, text=True, check=True)
        table = [cells for cells in map(str.split, done.stdout.splitlines()) if cells and cells[0].isdigit()]
        cumulated = [0.0, *(float(cells[-1]) for cells in table)]
        return Result(
            [after - before for before, after in pairwise(cumulated)], float(table[-1][2]) if validate else None
        )
