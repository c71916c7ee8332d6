"""The parameters that every row uses, and their optimiser, beside torch's own."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.models import DeepFM, DeepFMSettings

torch = pytest.importorskip("torch")
dense = pytest.importorskip("anyfm.engines.torch_dense")

MODEL = DeepFM(DeepFMSettings(n_factors=4, hidden_layer_sizes=(8, 3), batch_norm=True))


def made(*, units: dict[str, float] | None = None):
    parameters = dense.DenseParameters(MODEL, MODEL.parameter_specs(10, 3), device=torch.device("cpu"))
    parameters.start(units or {}, np.random.default_rng(0))
    return parameters


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_steps_are_those_of_adam(l2: float) -> None:
    ours = made()
    theirs = {
        name: part.detach().clone().requires_grad_() for name, part in ours.tensors().items() if part.requires_grad
    }
    decayed = [part for name, part in theirs.items() if name.startswith("hidden") and name.endswith("_weights")]
    rest = [part for part in theirs.values() if all(part is not other for other in decayed)]
    groups = [{"params": decayed, "weight_decay": l2}, {"params": rest, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=0.01, eps=1e-8)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for part in theirs.values():
            part.grad = torch.randn(part.shape, generator=generator) * 0.01  # small enough not to be cut
        ours.flat.grad = torch.cat([theirs[name].grad.reshape(-1) for name in theirs]) * 7
        adam.step()
        ours.step(7.0, learning_rate=0.01, l2=l2)
    for name, part in theirs.items():
        torch.testing.assert_close(ours.tensors()[name], part, rtol=1e-4, atol=1e-6)


def test_a_large_gradient_is_cut() -> None:
    one, other = made(), made()
    direction = torch.randn(len(one.flat), generator=torch.Generator().manual_seed(0))
    one.flat.grad, other.flat.grad = direction * 1e6, direction / torch.linalg.vector_norm(direction)
    for parameters in (one, other):
        parameters.step(1.0, learning_rate=0.01, l2=0.0)
    torch.testing.assert_close(one.first, other.first)


def test_units_multiply_what_the_model_sees() -> None:
    plain, scaled = made(), made(units={"hidden_0_weights": 20.0})
    torch.testing.assert_close(scaled.tensors()["hidden_0_weights"], 20 * plain.tensors()["hidden_0_weights"])
    torch.testing.assert_close(scaled.tensors()["hidden_1_weights"], plain.tensors()["hidden_1_weights"])
    np.testing.assert_array_equal(scaled.arrays()["hidden_0_weights"], scaled.tensors()["hidden_0_weights"].detach())


def test_state_comes_back() -> None:
    first, second = made(units={"hidden_0_weights": 3.0}), made()
    first.flat.grad = torch.ones_like(first.flat)
    first.step(1.0, learning_rate=0.1, l2=0.1)
    first.kept["hidden_0_mean"].fill_(2.0)
    second.load_state(first.state())
    assert second.state().keys() == first.state().keys()
    for name, array in first.state().items():
        np.testing.assert_array_equal(second.state()[name], array)
