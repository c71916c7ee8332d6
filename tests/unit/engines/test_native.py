"""What the native engine's networks do with weights, seen in Adam's moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyfm.models import AFM, AFMSettings, BaseModel, DeepFM, DeepFMSettings
from tests.contracts.cases import prepared
from tests.random_rows import random_rows


@pytest.mark.parametrize(
    ("model", "numbers", "last"),
    [
        (AFM(AFMSettings(n_factors=8, attention_factors=17, dropout=0.0)), "dense", (0, slice(-25, -8))),
        (
            DeepFM(DeepFMSettings(hidden_layer_sizes=(9, 4), activation="tanh", dropout=0.0)),
            "perceptron_values",
            slice(-4, None),
        ),
    ],
    ids=["attention", "mlp"],
)
def test_weight_three_is_three_copies_to_a_network(model: BaseModel, numbers: str, last: Any) -> None:
    """Without dropout, which differs from copy to copy; and with an output, `last` among the numbers, without which
    what lies below has no gradient."""
    once = random_rows("values", 4096)  # large enough for blocks of many rows
    assert once.y is not None
    copies = once.take(np.array([0, 0, 0, *range(3, 4096)]))
    weighted = once.labelled(once.y, np.where(np.arange(4096) == 0, 3, 1).astype(np.float32))
    moments = []
    for data, order in ((weighted, [0, 5]), (copies, [0, 1, 2, 5])):
        engine = prepared("native", model, once, seed=1)
        state = engine.state()
        state[numbers][last] = 0.5
        engine.load_state(state)
        engine.step(data, np.array(order))
        state = engine.state()
        moments.append(state["dense"][1] if numbers == "dense" else state["perceptron_first"])
    assert (moments[0] != 0).mean() > 0.5
    np.testing.assert_allclose(*moments, rtol=1e-4, atol=1e-5 * np.abs(moments[0]).max())
