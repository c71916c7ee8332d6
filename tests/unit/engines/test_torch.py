"""What only the torch engine does; what it promises like every engine is tested in tests/contracts/test_engines.py."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.core.errors import SettingError
from anyfm.core.rows import Rows
from anyfm.models import AFM, FFM, FM, AFMSettings, BaseModel, DeepFM, DeepFMSettings, FFMSettings, Linear
from tests.contracts.cases import make_model, mean_loss, prepared, trained
from tests.random_rows import random_rows

pytest.importorskip("torch")
engine_module = pytest.importorskip("anyfm.engines.torch")


def test_learning_rates_rise_in_the_first_epoch_and_decay_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    n_rows = 64 * 128  # an epoch has 128 batches
    data = Rows(ids=np.zeros((n_rows, 1), np.int32), y=np.zeros(n_rows, np.float32))
    engine = engine_module.TorchEngine(Linear(), n_features=1, n_fields=1, n_threads=1)
    engine.prepare(data, seed=0)
    multipliers: list[float] = []
    train_batch = engine._train_batch

    def recording(*arguments: object, multiplier: float) -> object:
        multipliers.append(multiplier)
        return train_batch(*arguments, multiplier=multiplier)

    monkeypatch.setattr(engine, "_train_batch", recording)
    for epoch in (1, 2):
        engine.begin_epoch(epoch)
        engine.step(data, np.arange(n_rows))
    batch = np.arange(128) / 128
    decaying = np.minimum(1, 2 * (1 - batch))
    np.testing.assert_allclose(multipliers[:128], np.minimum(decaying, 2 * (batch + 1 / 128)))
    np.testing.assert_allclose(multipliers[128:], decaying)


@pytest.mark.parametrize(
    "model",
    [AFM(AFMSettings(n_factors=4, attention_factors=3, dropout=0.0)), FFM(FFMSettings(n_factors=4))],
    ids=lambda model: model.name,
)
def test_a_batch_in_parts_trains_like_a_whole_one(model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_rows("ragged-values", 100)
    whole = trained("torch", model, train).parameters()
    monkeypatch.setattr(engine_module, "_PAIR_FLOATS", 1)  # a row at a time
    parts = trained("torch", model, train).parameters()
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("case", ["deepfm", "deepfm-norm"])
def test_mixed_precision_learns_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_rows("fixed", 600)
    logits = []
    monkeypatch.setattr(engine_module, "_MIXED_WEIGHTS", 1)
    for mixed in (False, True):
        monkeypatch.setattr(engine_module, "_has_bfloat16", lambda _, mixed=mixed: mixed)
        engine = trained("torch", make_model(case), train, epochs=3)
        assert all(array.dtype == np.float32 for array in engine.parameters().values())
        logits.append(engine.logits(train))
    assert np.abs(logits[0] - logits[1]).max() > 0
    losses = [mean_loss(z, train, "binary") for z in logits]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_device_that_torch_cannot_use_is_refused() -> None:
    with pytest.raises(SettingError, match=r"device must be .*nowhere"):
        engine_module.TorchEngine(FM(), n_features=3, n_fields=1, device="nowhere")


def test_torch_s_own_number_of_threads_is_restored() -> None:
    import torch

    before = torch.get_num_threads()
    trained("torch", make_model("deepfm-1"), random_rows("fixed"), n_threads=before + 1)
    assert torch.get_num_threads() == before


def test_rare_features_get_less_of_the_mlp_s_gradient() -> None:
    """A feature with n occurrences gets n / (n + shrinkage) of it; with a shrinkage of 0 all of it."""
    train, squares = random_rows("fixed", 200), {}
    for shrinkage in (0.0, 50.0, 1e12):
        model = DeepFM(DeepFMSettings(hidden_layer_sizes=(8,), dropout=0.0, shrinkage=shrinkage, learning_rate=1e-6))
        engine = prepared("torch", model, train)
        for _ in range(10):  # the output leaves zero
            engine.step(train, np.arange(200))
        before = engine.state()["records"]
        engine.step(train, np.arange(200))
        column = engine._group("factors").accumulator
        squares[shrinkage] = (engine.state()["records"] - before)[:, column]
    assert squares[1e12].max() < squares[50.0].max() < squares[0.0].max()
