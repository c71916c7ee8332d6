"""The progress bar: only on a terminal, and never on standard output."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest

from anyfm.core.errors import DivergenceError
from anyfm.core.settings import TrainingSettings
from anyfm.training.callbacks import ProgressBar, epoch_line
from anyfm.training.history import History
from anyfm.training.loop import fit


class Terminal(io.StringIO):
    def isatty(self):
        return True


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_on_a_terminal_each_epoch_leaves_a_line_and_speed_and_loss_are_shown(rows_of, engine_of, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    bar = ProgressBar(file=terminal)
    settings = TrainingSettings(epochs=2)
    history = fit(engine_of(), rows_of(200, seed=0), rows_of(50, seed=1), settings, callbacks=[bar])
    shown = plain(terminal.getvalue())
    for record in history.records:
        assert f"epoch {record['epoch']:>3}  train {record['train_loss']:.5f}" in shown
        assert f"valid logloss {record['valid_logloss']:.5f}" in shown
        assert f"  auc {record['valid_auc']:.5f}" in shown
    assert "rows/s" in shown


def test_the_bar_says_where_it_stands_and_is_closed_after_an_error(rows_of, engine_of, numpy_engine, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    class Breaking(numpy_engine):
        def step(self, rows, order):
            return float("nan")

    terminal = Terminal()
    bar = ProgressBar(file=terminal)
    with pytest.raises(DivergenceError):
        fit(engine_of(kind=Breaking), rows_of(20, seed=0), settings=TrainingSettings(epochs=7), callbacks=[bar])
    assert "epoch 1/7" in plain(terminal.getvalue())
    assert terminal.getvalue().endswith(("\x1b[?25h", "\x1b[2K")), "the cursor is shown again and the bar is gone"
    assert bar._bar is None


def test_where_there_is_no_terminal_every_epoch_is_one_line(rows_of, engine_of, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take anything for a terminal
    file = io.StringIO()
    for bar in (ProgressBar(), ProgressBar(file=file)):
        fit(engine_of(), rows_of(50, seed=0), settings=TrainingSettings(epochs=2), callbacks=[bar])
    shown = capsys.readouterr()
    assert shown.out == ""
    for text in (file.getvalue(), shown.err):
        assert [line[:11] for line in text.splitlines()] == ["epoch   1  ", "epoch   2  "]


def test_rich_is_loaded_only_to_draw():
    code = (
        "import sys, anyfm.training; "
        "heavy = {'rich', 'torch', 'polars', 'sklearn', 'pandas', 'pyarrow'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_epoch_in_one_line():
    record = {"epoch": 3, "train_loss": 0.25, "rows_per_second": 1_234_567.0, "valid_logloss": 0.5, "valid_auc": 0.75}
    line = epoch_line(record, History("valid_logloss"), improved=True)
    assert line == "epoch   3  train 0.25000  valid logloss 0.50000*  auc 0.75000  1.23 M rows/s"
    assert len(line) < 80, "it fits on a terminal of the usual width"
    line = epoch_line(record, History("valid_auc"), improved=False)
    assert line == "epoch   3  train 0.25000  valid auc 0.75000   1.23 M rows/s"
    long = {**record, "valid_normalized_entropy": 0.9, "epoch": 100}
    line = epoch_line(long, History("valid_normalized_entropy"), improved=True)
    assert line == "epoch 100  train 0.25000  valid normalized_entropy 0.90000*  1.23 M rows/s"
    large = {"epoch": 1, "train_loss": 1.23456789e12, "rows_per_second": 1e6, "valid_rmse": 1234567.5}
    line = epoch_line(large, History("valid_rmse"), improved=False)
    assert line == "epoch   1  train 1.23457e+12  valid rmse 1.23457e+06   1 M rows/s"
    slow = {"epoch": 12, "train_loss": 1.0, "rows_per_second": 12_345.0}
    assert epoch_line(slow, History(), improved=True) == "epoch  12  train 1.00000  12.3 k rows/s"
    assert epoch_line({**slow, "rows_per_second": 9.0}, History(), improved=True).endswith("  9 rows/s")
