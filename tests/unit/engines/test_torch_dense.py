"""Dense parameters of the torch engine, and their optimizer against torch's own."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.models import AFM, AFMSettings, BaseModel, DeepFM, DeepFMSettings
from anyfm.optim.optimizers import Adam

torch = pytest.importorskip("torch")
dense = pytest.importorskip("anyfm.engines.torch_dense")

LAYERS = {"n_factors": 4, "hidden_layer_sizes": (8, 3), "batch_norm": True}
DEEPFM = DeepFM(DeepFMSettings(**LAYERS, weight_decay=0.0))


def drawn(model: BaseModel = DEEPFM, *, units: dict[str, float] | None = None):
    """Dense parameters with random values, in the same order and of the same values for every call."""
    specs = model.parameter_specs(10, 3)
    parameters = dense.DenseParameters(specs, device=torch.device("cpu"))
    rng = np.random.default_rng(0)
    names = [name for name in specs if name in parameters.read()]
    values = {name: rng.normal(1, 0.3, specs[name].shape).astype(np.float32) for name in names}
    parameters.write(values, dict.fromkeys(names, 1.0) | (units or {}))
    return parameters


@pytest.mark.parametrize(
    "model",
    [
        DEEPFM,
        DeepFM(DeepFMSettings(**LAYERS, weight_decay=0.1)),
        AFM(AFMSettings(n_factors=4, attention_factors=3, l2_attention=0.0)),
        AFM(AFMSettings(n_factors=4, attention_factors=3, l2_attention=0.002)),
    ],
    ids=["adam", "weight decay", "attention", "l2"],
)
def test_steps_are_those_of_torch_s_adam(model: BaseModel) -> None:
    ours, learning_rate = drawn(model), 0.01
    theirs = {
        name: part.detach().clone().requires_grad_() for name, part in ours.tensors().items() if part.requires_grad
    }
    decayed = 0
    optimizers = []
    for name, part in theirs.items():
        adam = model.parameter_specs(10, 3)[name].optimizer
        assert isinstance(adam, Adam)
        decayed += adam.l2 > 0 or adam.weight_decay > 0
        if adam.l2 > 0:
            assert adam.center == 0
            optimizers.append(torch.optim.Adam([part], lr=learning_rate, eps=1e-8, weight_decay=adam.l2))
        else:
            decay = adam.weight_decay
            optimizers.append(torch.optim.AdamW([part], lr=learning_rate, eps=1e-8, weight_decay=decay))
    settings = model.settings.to_dict()
    assert (decayed > 0) == (settings.get("weight_decay", 0) > 0 or settings.get("l2_attention", 0) > 0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for part in theirs.values():
            part.grad = torch.randn(part.shape, generator=generator) * 0.01  # too small to be clipped
        ours.flat.grad = torch.cat([theirs[name].grad.reshape(-1) for name in theirs]) * 7
        for optimizer in optimizers:
            optimizer.step()
        ours.step(7.0, learning_rate=learning_rate)
    for name, part in theirs.items():
        torch.testing.assert_close(ours.tensors()[name], part, rtol=1e-4, atol=1e-6)


def test_the_center_of_a_penalty_is_where_it_pulls_to() -> None:
    from anyfm.models import ParameterSpec

    spec = ParameterSpec((2,), Adam(0.01, l2=0.1, center=1.0))
    parameters = dense.DenseParameters({"weights": spec}, device=torch.device("cpu"))
    parameters.write({"weights": np.array([0.5, 1.0], np.float32)}, {"weights": 1.0})
    parameters.flat.grad = torch.zeros(2)
    parameters.step(1.0, learning_rate=0.01)
    np.testing.assert_allclose(parameters.read()["weights"], [0.51, 1.0], rtol=1e-5)


def test_a_large_gradient_is_clipped_to_norm_one() -> None:
    one, other = drawn(), drawn()
    direction = torch.randn(len(one.flat), generator=torch.Generator().manual_seed(0))
    one.flat.grad, other.flat.grad = direction * 1e6, direction / torch.linalg.vector_norm(direction)
    for parameters in (one, other):
        parameters.step(1.0, learning_rate=0.01)
    torch.testing.assert_close(one.first, other.first)


def test_units_multiply_what_the_formula_gets() -> None:
    plain, scaled = drawn(), drawn(units={"hidden_0_weights": 20.0})
    torch.testing.assert_close(scaled.tensors()["hidden_0_weights"], 20 * plain.tensors()["hidden_0_weights"])
    torch.testing.assert_close(scaled.tensors()["hidden_1_weights"], plain.tensors()["hidden_1_weights"])
    np.testing.assert_array_equal(scaled.read()["hidden_0_weights"], plain.read()["hidden_0_weights"])


def test_writing_the_same_values_forgets_all_steps() -> None:
    parameters = drawn()
    start = parameters.read()
    assert {"hidden_0_mean", "hidden_1_variance"} <= start.keys()
    arrays = {name: tensor.clone() for name, tensor in parameters.arrays().items()}
    parameters.flat.grad = torch.ones_like(parameters.flat)
    parameters.step(1.0, learning_rate=0.1)
    parameters.running["hidden_0_mean"].fill_(2.0)
    assert parameters.n_steps == 1
    changed = {name for name, tensor in parameters.arrays().items() if not torch.equal(tensor, arrays[name])}
    assert changed == {"flat", "first", "second", "hidden_0_mean"}
    parameters.write(start, dict.fromkeys(start, 1.0))
    assert parameters.n_steps == 0
    for name, tensor in parameters.arrays().items():
        assert torch.equal(tensor, arrays[name])
