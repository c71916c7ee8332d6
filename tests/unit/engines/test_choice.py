"""Which engine trains a model."""

from __future__ import annotations

import importlib.util

import pytest

from anyfm.core.errors import MissingDependencyError, SettingError
from anyfm.core.settings import TrainingSettings
from anyfm.engines.registry import make_engine
from anyfm.models import FFM, MODELS, BaseModel, DeepFM, DeepFMSettings, FFMSettings

SIZES = {"n_features": 4, "n_fields": 2}
NORMALISED = DeepFM(DeepFMSettings(batch_norm=True))
has_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))


@pytest.mark.parametrize("name", list(MODELS))
def test_the_native_engine_trains_every_model(name: str) -> None:
    assert type(make_engine(MODELS[name](), **SIZES)).__name__ == "NativeEngine"


@pytest.mark.parametrize(("n_fields", "n_factors"), [(1, 16), (5, 16), (6, 12), (8, 8), (15, 8), (16, 4), (300, 4)])
def test_ffm_has_factors_by_the_number_of_fields_unless_told(n_fields: int, n_factors: int) -> None:
    engine = make_engine(MODELS["ffm"](), n_features=4, n_fields=n_fields)
    assert engine.model.settings.n_factors == n_factors
    assert engine.parameters()["field_factors"].shape == (4, n_fields, n_factors)
    assert MODELS["ffm"]().parameter_specs(4, n_fields)["field_factors"].shape == (4, n_fields, n_factors)
    told = make_engine(FFM(FFMSettings(n_factors=7)), n_features=4, n_fields=n_fields)
    assert told.model.settings.n_factors == 7


@pytest.mark.parametrize(
    ("n_fields", "hidden", "trust"), [(1, "256,128", 3000), (5, "256,128", 3000), (6, "64,32", 300)]
)
def test_deepfm_has_a_perceptron_by_the_number_of_fields_unless_told(n_fields: int, hidden: str, trust: float) -> None:
    sizes = {"n_features": 4, "n_fields": n_fields}
    engine = make_engine(DeepFM(), **sizes)
    assert (engine.model.settings.hidden, engine.model.settings.shrinkage) == (hidden, trust)
    assert [f"{len(engine.parameters()[f'hidden_{layer}_bias'])}" for layer in range(2)] == hidden.split(",")
    told = make_engine(DeepFM(DeepFMSettings(hidden_layer_sizes=(), shrinkage=0.0)), **sizes)
    assert (told.model.settings.hidden, told.model.settings.shrinkage) == ("", 0.0)


@has_torch
@pytest.mark.parametrize("name", list(MODELS))
def test_torch_trains_what_it_is_told_to(name: str) -> None:
    assert type(make_engine(MODELS[name](), **SIZES, engine="torch")).__name__ == "TorchEngine"


@has_torch
def test_torch_trains_batch_normalisation() -> None:
    assert type(make_engine(NORMALISED, **SIZES)).__name__ == "TorchEngine"


@pytest.mark.parametrize(
    ("model", "engine"), [(NORMALISED, "auto"), (MODELS["deepfm"](), "torch"), (MODELS["linear"](), "torch")]
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
        make_engine(NORMALISED, **SIZES, engine="native")


@pytest.mark.parametrize("setting", [{"engine": "cuda"}, {"device": ""}, {"device": "cuda:"}, {"device": "a b"}])
def test_settings_are_checked(setting: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(setting))} must be"):
        TrainingSettings(**setting)
