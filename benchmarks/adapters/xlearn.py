from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.adapters.base import Adapter, Result
from benchmarks.problems import Problem

COLORS = re.compile(r"\x1b\[[0-9;]*m")
ROW = re.compile(r"\[ +\d+% +\]((?: +[\d.]+)+)$")  # share of the epochs, epoch, losses, seconds


class XLearn(Adapter):
    """xLearn's command line, its own defaults (Adagrad .2, L2 2e-5, instance normalization), no early stopping.

    Its epoch time includes validation when there is any, so seconds are taken from runs without.
    """

    program = "XLEARN_TRAIN"

    def available(self, problem: Problem) -> bool:
        return problem.model in ("linear", "fm", "ffm") and super().available(problem)

    def run(self, problem: Problem, *, n_threads: int, validate: bool) -> Result:
        kind = "ffm" if problem.model == "ffm" else "svm"
        solver = {"linear": "0", "fm": "1", "ffm": "2"}[problem.model]
        with tempfile.TemporaryDirectory() as folder:
            for part in ("train", "valid"):
                Path(folder, f"{part}.{kind}").symlink_to(problem.paths()[f"{part}.{kind}"])
            executable = self.executable()
            assert executable is not None
            command = [executable, f"train.{kind}", "-s", solver, "-k", str(problem.n_factors)]
            command += ["-e", str(problem.n_epochs), "--dis-es", "-nthread", str(n_threads), "-m", "none"]
            command += ["-v", f"valid.{kind}"] if validate else []
            environment = {"USER": "bench", **os.environ}
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        lines = (COLORS.sub("", line) for line in done.stdout.splitlines())
        table = [[float(cell) for cell in found[1].split()] for line in lines if (found := ROW.match(line))]
        return Result([row[-1] for row in table], table[-1][2] if validate else None)
