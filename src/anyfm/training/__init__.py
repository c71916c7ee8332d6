"""When training happens, until when, and how well it went: one loop for every engine."""

from __future__ import annotations

from anyfm.training.callbacks import Callback, ProgressBar
from anyfm.training.checkpoint import Checkpoint, Checkpointer, load_checkpoint, save_checkpoint
from anyfm.training.history import History
from anyfm.training.loop import evaluate, fit

__all__ = [
    "Callback",
    "Checkpoint",
    "Checkpointer",
    "History",
    "ProgressBar",
    "evaluate",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
]
