"""Memory of the native tables: known before any is allocated, and refused where it is not free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyfm.core.errors import SettingError
from anyfm.engines import memory
from anyfm.engines.native import NativeEngine
from anyfm.engines.scorer import NativeScorer
from anyfm.models import FFM, MODELS, FFMSettings

SIZES = {"n_features": 2_000_000, "n_fields": 39}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", list(MODELS))
def test_needed_memory_is_that_of_the_tables(name: str, training: bool) -> None:
    """Training keeps two copies of the tables beside them; a table may have a record or two more than features."""
    model, n_features, n_fields = MODELS[name]().resolve(5), 1000, 5
    specs = model.parameter_specs(n_features, n_fields)
    needed = memory.needed_memory(model, n_features=n_features, n_fields=n_fields, training=training)
    assert needed >= 4 * sum(spec.size for spec in specs.values() if spec.per_feature) * (3 if training else 1)
    if training:
        tables = NativeEngine(model, n_features=n_features, n_fields=n_fields)._native.tables
    else:
        parameters = {name: np.zeros(spec.shape, np.float32) for name, spec in specs.items()}
        tables = NativeScorer(model, parameters, n_fields=n_fields)._native.tables
    assert needed == pytest.approx(sum(table.nbytes for table in tables) * (3 if training else 1), rel=0.01)


def test_memory_is_refused_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    with pytest.raises(SettingError, match=r"min_count.*needed_bytes=\d{10},.*available_bytes=1000000000.*n_factors=8"):
        NativeEngine(FFM(FFMSettings(n_factors=8)), **SIZES)


def test_available_memory_of_linux() -> None:
    available = memory.available_memory()
    assert available is None or available > 10**6


def test_the_smaller_limit_of_system_and_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_memory() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    assert memory.available_memory() == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.available_memory() == 5000 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    assert memory.available_memory() == 2000
