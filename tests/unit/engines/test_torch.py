"""What is the torch engine's own; what it promises as every engine does stands in tests/contracts/test_engines.py."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.core.errors import SettingError
from anyfm.core.rows import Rows
from anyfm.models import AFM, FFM, FM, AFMSettings, BaseModel, DeepFM, DeepFMSettings, FFMSettings, Linear
from tests.contracts.cases import build, make_model, mean_loss, prepared, trained
from tests.random_rows import random_rows

pytest.importorskip("torch")
engine_module = pytest.importorskip("anyfm.engines.torch")


def test_learning_rates_rise_in_the_first_epoch_and_fall_in_every_one() -> None:
    n_rows = 64 * 128  # an epoch has 128 batches
    data = Rows(ids=np.zeros((n_rows, 1), np.int32), y=np.zeros(n_rows, np.float32))
    engine = engine_module.TorchEngine(Linear(), n_features=1, n_fields=1, n_threads=1)
    engine.prepare(data, seed=0)
    shares: list[float] = []
    train = engine._train

    def noting(*arguments: object, share: float) -> object:
        shares.append(share)
        return train(*arguments, share=share)

    engine._train = noting
    for epoch in (1, 2):
        engine.begin_epoch(epoch)
        engine.step(data, np.arange(n_rows))
    batch = np.arange(128) / 128
    falling = np.minimum(1, 2 * (1 - batch))
    np.testing.assert_allclose(shares[:128], np.minimum(falling, 2 * (batch + 1 / 128)))
    np.testing.assert_allclose(shares[128:], falling)


@pytest.mark.parametrize(
    "model",
    [AFM(AFMSettings(n_factors=4, attention_factors=3, dropout=0.0)), FFM(FFMSettings(n_factors=4))],
    ids=lambda model: model.name,
)
def test_a_batch_in_pieces_trains_as_a_whole(model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_rows("ragged-values", 100)
    whole = trained("torch", model, train).parameters()
    monkeypatch.setattr(engine_module, "_FLOATS", 1)  # a row at a time
    pieces = trained("torch", model, train).parameters()
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("case", ["deepfm", "deepfm-norm"])
def test_mixed_precision_learns_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_rows("fixed", 600)
    logits = []
    for mixed in (False, True):
        monkeypatch.setattr(engine_module, "_mixed", lambda *_, mixed=mixed: mixed)
        engine = trained("torch", make_model(case), train, epochs=3)
        assert all(array.dtype == np.float32 for array in engine.parameters().values())
        logits.append(engine.logits(train))
    assert np.abs(logits[0] - logits[1]).max() > 0
    losses = [mean_loss(z, train, "binary") for z in logits]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(SettingError, match="libffm"):
        build("torch", make_model("ffm-libffm"))
    with pytest.raises(SettingError, match=r"device must be .*nowhere"):
        engine_module.TorchEngine(FM(), n_features=3, n_fields=1, device="nowhere")


def test_the_threads_of_others_stay_as_they_are() -> None:
    import torch

    before = torch.get_num_threads()
    trained("torch", make_model("deepfm-1"), random_rows("fixed"), n_threads=before + 1)
    assert torch.get_num_threads() == before


def test_rare_features_feel_less_of_the_mlp() -> None:
    """The fraction is n / (n + shrinkage) of a feature with n occurrences; at 0 all features feel all of it."""
    train, moved = random_rows("fixed", 200), {}
    for shrinkage in (0.0, 50.0, 1e12):
        model = DeepFM(DeepFMSettings(hidden_layer_sizes=(8,), dropout=0.0, shrinkage=shrinkage, learning_rate=1e-6))
        engine = prepared("torch", model, train)
        for _ in range(10):  # the output leaves zero
            engine.step(train, np.arange(200))
        before = engine.state()["records"]
        engine.step(train, np.arange(200))
        moved[shrinkage] = (engine.state()["records"] - before)[:, 17]  # accumulators of the factors
    assert moved[1e12].max() < moved[50.0].max() < moved[0.0].max()
