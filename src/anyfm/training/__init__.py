"""Training: the loop, callbacks, checkpoints, history and splits."""

from __future__ import annotations

from anyfm.training.callbacks import Callback, EpochLog, ProgressBar
from anyfm.training.checkpoint import Checkpoint, Checkpointer, load_checkpoint, resume_from, save_checkpoint
from anyfm.training.history import History
from anyfm.training.loop import evaluate, fit

__all__ = [
    "Callback",
    "Checkpoint",
    "Checkpointer",
    "EpochLog",
    "History",
    "ProgressBar",
    "evaluate",
    "fit",
    "load_checkpoint",
    "resume_from",
    "save_checkpoint",
]
