"""Row weights in the gradients of the native engine's dense parameters, seen in Adam's moments."""

from __future__ import annotations

import numpy as np
import pytest

from anyfm.models import AFM, AFMSettings, BaseModel, DeepFM, DeepFMSettings
from tests.contracts.cases import prepared
from tests.random_rows import random_rows


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (AFM(AFMSettings(n_factors=8, attention_factors=17, dropout=0.0)), slice(-25, -8)),
        (
            DeepFM(DeepFMSettings(hidden_layer_sizes=(9, 4), activation="tanh", dropout=0.0)),
            slice(-4, None),
        ),
    ],
    ids=["attention", "mlp"],
)
def test_weight_three_is_three_copies_to_dense_parameters(model: BaseModel, output: slice) -> None:
    """Without dropout, which differs from copy to copy. `output` is where the output weights are among the dense
    parameters: they start at 0, and the layers below would have no gradient."""
    once = random_rows("values", 4096)  # large enough for blocks of many rows
    assert once.y is not None
    copies = once.take(np.array([0, 0, 0, *range(3, 4096)]))
    weighted = once.labelled(once.y, np.where(np.arange(4096) == 0, 3, 1).astype(np.float32))
    moments = []
    for data, order in ((weighted, [0, 5]), (copies, [0, 1, 2, 5])):
        engine = prepared("native", model, once, seed=1)
        state = engine.state()
        state["dense_values"][output] = 0.5
        engine.load_state(state)
        engine.step(data, np.array(order))
        moments.append(engine.state()["dense_first_moments"])
    assert (moments[0] != 0).mean() > 0.5
    np.testing.assert_allclose(*moments, rtol=1e-4, atol=1e-5 * np.abs(moments[0]).max())
