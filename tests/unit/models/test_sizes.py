"""Settings that depend on the number of fields, and the number of parameters of a model."""

from __future__ import annotations

import pytest

from anyfm.models import FFM, FM, DeepFM, DeepFMSettings, FFMSettings, FMSettings, Linear


@pytest.mark.parametrize(("n_fields", "n_factors"), [(1, 16), (5, 16), (6, 12), (8, 8), (15, 8), (16, 4), (300, 4)])
def test_the_number_of_fields_decides_ffm_s_factors_unless_they_are_set(n_fields: int, n_factors: int) -> None:
    assert FFM().resolve(n_fields).settings.n_factors == n_factors
    assert FFM().parameter_specs(4, n_fields)["field_factors"].shape == (4, n_fields, n_factors)
    chosen = FFM(FFMSettings(n_factors=7))
    assert chosen.resolve(n_fields).settings.n_factors == 7


@pytest.mark.parametrize(
    ("n_fields", "sizes", "shrinkage"), [(1, (256, 128), 3000), (5, (256, 128), 3000), (6, (64, 32), 300)]
)
def test_the_number_of_fields_decides_deepfm_s_layers_unless_they_are_set(
    n_fields: int, sizes: tuple[int, ...], shrinkage: float
) -> None:
    settings = DeepFM().resolve(n_fields).settings
    assert (settings.hidden_layer_sizes, settings.shrinkage) == (sizes, shrinkage)
    specs = DeepFM().parameter_specs(4, n_fields)
    assert tuple(specs[f"hidden_{layer}_bias"].shape[0] for layer in range(2)) == sizes
    chosen = DeepFM(DeepFMSettings(hidden_layer_sizes=(), shrinkage=0.0)).resolve(n_fields).settings
    assert (chosen.hidden_layer_sizes, chosen.shrinkage) == ((), 0.0)


def test_the_number_of_parameters() -> None:
    assert Linear().n_parameters(10, 3) == 11
    assert FM(FMSettings(n_factors=4)).n_parameters(10, 3) == 11 + 40
    assert FFM(FFMSettings(n_factors=4)).n_parameters(10, 3) == 11 + 120
    deep = DeepFM(DeepFMSettings(n_factors=4, hidden_layer_sizes=(5, 2)))
    assert deep.n_parameters(10, 3) == 11 + 40 + (12 * 5 + 5) + (5 * 2 + 2) + 2
    assert FM(FMSettings(n_factors=256)).n_parameters(2**31 - 1, 3) == 1 + 257 * (2**31 - 1)
