"""Which engine trains a model."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from anyfm.core.errors import MissingDependencyError, SettingError
from anyfm.core.rows import Rows
from anyfm.core.settings import TrainingSettings
from anyfm.engines.registry import make_engine
from anyfm.models import MODELS, BaseModel, DeepFM, DeepFMSettings
from anyfm.workflow import train_rows

SIZES = {"n_features": 4, "n_fields": 2}
NORMALIZED = DeepFM(DeepFMSettings(batch_norm=True))
has_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))


@pytest.mark.parametrize("name", list(MODELS))
def test_the_native_engine_trains_every_model(name: str) -> None:
    assert type(make_engine(MODELS[name](), **SIZES)).__name__ == "NativeEngine"


@pytest.mark.parametrize("name", list(MODELS))
def test_an_engine_decides_what_depends_on_the_number_of_fields(name: str) -> None:
    engine = make_engine(MODELS[name](), **SIZES)
    assert engine.model.settings == MODELS[name]().resolve(SIZES["n_fields"]).settings


@has_torch
@pytest.mark.parametrize("name", list(MODELS))
def test_torch_trains_what_it_is_told_to(name: str) -> None:
    assert type(make_engine(MODELS[name](), **SIZES, engine="torch")).__name__ == "TorchEngine"


@has_torch
def test_torch_trains_batch_normalisation() -> None:
    assert type(make_engine(NORMALIZED, **SIZES)).__name__ == "TorchEngine"


@pytest.mark.parametrize(
    ("model", "engine"), [(NORMALIZED, "auto"), (MODELS["deepfm"](), "torch"), (MODELS["linear"](), "torch")]
)
def test_without_torch_the_command_that_installs_it_is_named(
    model: BaseModel, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_torch(monkeypatch)
    with pytest.raises(MissingDependencyError, match=rf'training {model.name} .*pip install "anyfm\[torch\]"'):
        make_engine(model, **SIZES, engine=engine)


def test_a_device_needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    without_torch(monkeypatch)
    with pytest.raises(MissingDependencyError, match="training fm on cuda"):
        make_engine(MODELS["fm"](), **SIZES, device="cuda")
    with pytest.raises(SettingError, match=r"native engine computes on the CPU.*cuda"):
        make_engine(MODELS["fm"](), **SIZES, engine="native", device="cuda")


def test_the_native_engine_knows_no_batch_normalisation() -> None:
    with pytest.raises(SettingError, match=r"native engine knows no batch normalisation.*batch_norm"):
        make_engine(NORMALIZED, **SIZES, engine="native")


@pytest.mark.parametrize("setting", [{"engine": "cuda"}, {"device": ""}, {"device": "cuda:"}, {"device": "a b"}])
def test_settings_are_checked(setting: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(setting))} must be"):
        TrainingSettings(**setting)


def test_the_artifact_does_not_tell_who_trained() -> None:
    data = Rows(ids=np.array([[0, 2], [1, 3], [0, 3]], np.int32), y=np.array([0, 1, 1], np.float32))
    made = [
        train_rows(data, None, model="fm", settings={"epochs": 2, "engine": engine, "n_threads": n}, **SIZES)[0]
        for engine, n in (("auto", 1), ("native", 2))
    ]
    assert made[0].training == made[1].training
    assert not {"engine", "device", "n_threads"} & set(made[0].training)
