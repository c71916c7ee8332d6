from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass

from benchmarks.problems import Problem


@dataclass(frozen=True)
class Result:
    """Seconds of training alone, per epoch, and the validation logloss after the last epoch (None: not asked for)."""

    seconds: list[float]
    valid_logloss: float | None = None


class Adapter(ABC):
    """A system under measurement; each run is a process of its own."""

    program: str
    """The environment variable that names the program; its lower-case form is looked for on the path."""

    def executable(self) -> str | None:
        return os.environ.get(self.program) or shutil.which(self.program.lower().replace("_", "-"))

    def available(self, problem: Problem) -> bool:
        return self.executable() is not None

    @abstractmethod
    def run(self, problem: Problem, *, n_threads: int, validate: bool) -> Result:
        """Train; with `validate`, the seconds are not to be used."""
