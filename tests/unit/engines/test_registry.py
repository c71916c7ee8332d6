"""Which engine trains a model."""

from __future__ import annotations

import importlib.util

import pytest

from anyfm.core.errors import MissingDependencyError, SettingError
from anyfm.core.settings import TrainingSettings
from anyfm.engines.registry import make_engine
from anyfm.models import FFM, MODELS, BaseModel, DeepFM, DeepFMSettings, FFMSettings

SIZES = {"n_features": 4, "n_fields": 2}
BATCH_NORM = DeepFM(DeepFMSettings(batch_norm=True))
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
def test_torch_trains_every_model(name: str) -> None:
    assert type(make_engine(MODELS[name](), **SIZES, engine="torch")).__name__ == "TorchEngine"


@has_torch
def test_torch_trains_batch_normalization() -> None:
    assert type(make_engine(BATCH_NORM, **SIZES)).__name__ == "TorchEngine"


@pytest.mark.parametrize(
    ("model", "engine"), [(BATCH_NORM, "auto"), (MODELS["deepfm"](), "torch"), (MODELS["linear"](), "torch")]
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


@pytest.mark.parametrize(
    ("model", "engine", "trains"),
    [(BATCH_NORM, "native", "torch"), (FFM(FFMSettings(optimizer="libffm")), "torch", "native")],
    ids=["batch normalization", "libffm"],
)
def test_an_engine_that_cannot_train_the_model_names_the_one_that_can(
    model: BaseModel, engine: str, trains: str
) -> None:
    with pytest.raises(SettingError, match=f"is trained by {trains}, got engine=.{engine}"):
        make_engine(model, **SIZES, engine=engine)


@pytest.mark.parametrize("setting", [{"engine": "cuda"}, {"device": ""}, {"device": "cuda:"}, {"device": "a b"}])
def test_the_training_settings_are_checked(setting: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(setting))} must be"):
        TrainingSettings(**setting)
