"""Strengths of fields and pairs: their laws, and whether they find what was planted."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from anyfm.artifact import Artifact
from anyfm.data.readers import read_table
from anyfm.datasets.synthetic import ad_clicks
from anyfm.explain.contributions import explain_rows
from anyfm.explain.factors import factors_table
from anyfm.explain.interaction_strength import strengths, total_interaction
from anyfm.explain.partial_dependence import partial_dependence
from anyfm.explain.permutation_importance import permutation_importance
from anyfm.explain.perturbation import sample, with_field_of, with_value
from anyfm.explain.value_pairs import value_pairs
from anyfm.model import Model
from anyfm.models import MODELS
from anyfm.pipeline import train
from tests.unit.explain.models import CASES, FIELD_SIZE, KINDS, artifact, rows

PAIRED = [case for case in CASES if case[0] != "linear"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_strengths_are_those_of_the_terms(name, settings, kind):
    made, given = artifact(name, **settings), rows(kind, weighted=True)
    found, terms = strengths(made, given), explain_rows(made, given)
    weight = given.weight / given.weight.sum()
    assert found.pair_absolute == pytest.approx(weight @ np.abs(terms.pairs))
    assert found.linear_absolute == pytest.approx(weight @ np.abs(terms.linear))
    assert found.linear_variance_fraction.sum() + found.pair_variance_fraction.sum() == pytest.approx(1.0)
    if terms.attention is not None:
        assert found.attention == pytest.approx(weight @ terms.attention)


@pytest.mark.parametrize("kind", ["fixed", "ragged"])
@pytest.mark.parametrize("name", list(MODELS))
def test_a_weight_means_copies(name, kind):
    given = rows(kind, weighted=True)
    copied = replace(given.take(np.repeat(np.arange(given.n_rows), given.weight.astype(int))), weight=None)
    one, other = strengths(artifact(name), given), strengths(artifact(name), copied)
    for part in ("main", "interaction", "pair_variance_fraction", "linear_absolute"):
        assert getattr(one, part) == pytest.approx(getattr(other, part), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in ("fm", "ffm") if name in MODELS])
def test_what_is_moved_between_terms_changes_no_strength(name):
    """A constant vector added to a field's factors, made up for in linear weights, leaves the model as it was."""
    made, given = artifact(name), rows("fixed")
    parameters = {key: array.astype(np.float64) for key, array in made.parameters.items()}
    key = "factors" if name == "fm" else "field_factors"
    factors, linear = parameters[key], parameters["linear"].copy()
    of_field = slice(2 * FIELD_SIZE, 3 * FIELD_SIZE)
    moved = factors.copy()
    shift = np.random.default_rng(1).normal(size=factors.shape[1:])
    moved[of_field] += shift
    for feature in range(made.n_features):
        field = feature // FIELD_SIZE
        if field != 2:
            linear[feature] -= factors[feature] @ shift if name == "fm" else factors[feature, 2] @ shift[field]
    changed = {**parameters, key: moved, "linear": linear}
    changed = {name: array.astype(np.float32) for name, array in changed.items()}
    other = Artifact(model=made.model, parameters=changed, n_features=made.n_features, n_fields=made.n_fields)
    assert explain_rows(other, given).logits == pytest.approx(explain_rows(made, given).logits, abs=1e-5)
    one, two = strengths(made, given), strengths(other, given)
    assert one.interaction == pytest.approx(two.interaction, abs=1e-5)
    assert one.main == pytest.approx(two.main, abs=1e-5)
    assert np.abs(one.pair_absolute - two.pair_absolute).max() > 0.1


def test_the_interaction_of_a_table_of_all_combinations_is_the_analysis_of_variance():
    made, given = artifact("fm"), every_combination()
    found, logits = strengths(made, given), explain_rows(made, given).logits
    cube = (logits - logits.mean()).reshape([FIELD_SIZE] * 5)
    for field in range(5):
        rest = tuple(axis for axis in range(5) if axis != field)
        assert found.main[field] == pytest.approx(cube.mean(axis=rest).std())
    for place, (f, g) in enumerate(combinations(range(5), 2)):
        table = cube.mean(axis=tuple(axis for axis in range(5) if axis not in (f, g)))
        table = table - table.mean(axis=0) - table.mean(axis=1)[:, None]
        assert found.interaction[place] == pytest.approx(table.std())


# --- planted effects -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    return ad_clicks(60_000, seed=0)


def learned(made, model):
    trained = train(made.columns, "click", search=False, model=model, epochs=15)
    given = trained.artifact.encoder.encode(read_table(made.columns), labelled=True).rows
    return trained.artifact, sample(given, 30_000)


@pytest.fixture(scope="module", params=["fm", "ffm", "afm"])
def planted(request, made):
    return learned(made, request.param)


def concordance(found, truth):
    """Goodman and Kruskal's gamma: of the pairs of different truth, those in order less those out of order."""
    order = np.sign(np.subtract.outer(found, found)) * np.sign(np.subtract.outer(truth, truth))
    return order.sum() / np.abs(order).sum()


def hold_against_the_truth(artifact_, pairs, interaction, made, *, nothing=0.05):
    names = artifact_.encoder.field_names
    truth = {frozenset(pair["fields"]): pair["strength"] for pair in made.truth["pairs"]}
    fields = [frozenset((names[i], names[j])) for i, j in zip(pairs.first, pairs.second, strict=True)]
    strong = np.array([truth[pair] for pair in fields])
    # Of the 28 strengths 21 are exactly 0. A measured strength never is, so that Spearman's rho would be .76 at best.
    assert concordance(interaction, strong) >= 0.8
    assert np.corrcoef(interaction, strong)[0, 1] >= 0.95
    top = {fields[place] for place in np.argsort(-interaction)[:5]}
    assert top == {fields[place] for place in np.argsort(-strong)[:5]}
    of = dict(zip(fields, interaction, strict=True))
    assert of[frozenset(("gender", "ad_size"))] < nothing * of[frozenset(("gender", "ad_category"))]


def test_the_planted_pairs_are_found(planted, made):
    artifact_, given = planted
    found = strengths(artifact_, given)
    hold_against_the_truth(artifact_, found.field_pairs, found.interaction, made)
    main = np.array([made.truth["fields"][name] for name in artifact_.encoder.field_names])
    # AFM is less exact in what a field has on its own: it doubles the smallest effect, gender's, and halves the users'.
    close = {"abs": 0.2} if artifact_.model.name == "afm" else {"rel": 0.5}
    assert found.main == pytest.approx(main, **close)


def test_the_planted_pairs_are_found_in_both_halves_of_deepfm(made):
    artifact_, given = learned(made, "deepfm")
    found = strengths(artifact_, given)
    whole = total_interaction(artifact_, given, found.field_pairs, found.interaction)
    # A perceptron makes a little of every pair.
    hold_against_the_truth(artifact_, found.field_pairs, whole, made, nothing=0.1)
    names = artifact_.encoder.field_names
    strongest = whole.argmax()
    pair = {names[found.field_pairs.first[strongest]], names[found.field_pairs.second[strongest]]}
    assert pair == {"gender", "ad_category"}
    assert found.interaction[strongest] < 0.8 * whole[strongest]  # the perceptron has a part in it


def test_the_strongest_value_pairs_are_confirmed_by_their_rows(planted):
    artifact_, given = planted
    found = value_pairs(artifact_, given, strengths(artifact_, given), n=20, min_count=100)
    assert len(found) == 20
    assert sum(pair.has_same_sign for pair in found) >= 18
    assert all(pair.n_rows >= 100 for pair in found)
    covered = sum(pair.lower - 0.4 <= pair.interaction <= pair.upper + 0.4 for pair in found)
    assert covered >= 16
    without = value_pairs(artifact_, replace(given, y=None), strengths(artifact_, given), n=3)
    assert without[0].observed is None
    assert not without[0].has_same_sign


def test_importance_orders_fields_as_planted(planted, made):
    artifact_, given = planted
    found = permutation_importance(artifact_, given)
    strongest = {name for _, name in sorted(zip(-found.increase, found.fields, strict=True))[:2]}
    assert strongest == {"ad_category", "gender"}
    assert (found.increase > 0).all()


def test_partial_effects_hold_the_planted_ones(planted, made):
    artifact_, given = planted
    names = artifact_.encoder.field_names
    effect = partial_dependence(artifact_, given, names.index("age"))
    assert effect.ordered
    assert repr(effect).startswith("PartialDependence(age: ")
    assert len(repr(effect)) < 120
    assert len(effect.values) == len(effect.effect) == len(effect.count)
    spread = np.sqrt(np.average(effect.effect**2, weights=effect.count))
    assert spread == pytest.approx(made.truth["fields"]["age"], rel=0.35)


# --- black boxes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_exchanged_and_nothing_else(kind):
    given = rows(kind)
    source = np.random.default_rng(3).permutation(given.n_rows)
    exchanged = with_field_of(given, 1, given.take(source))

    def entries(of, row, *, field):
        one = of.slice(row, row + 1)
        values = np.ones(one.ids.size) if one.values is None else one.values.reshape(-1)
        ids = one.ids.reshape(-1)
        return sorted(
            (i, round(float(v), 5)) for i, v in zip(ids, values, strict=True) if (i // FIELD_SIZE == 1) == field
        )

    for row in range(given.n_rows):
        assert entries(exchanged, row, field=True) == entries(given, source[row], field=True)
        assert entries(exchanged, row, field=False) == entries(given, row, field=False)
        if kind != "shared":
            fixed = with_value(given, 1, 9)
            assert entries(fixed, row, field=True) == [(9, 1.0)]
            assert entries(fixed, row, field=False) == entries(given, row, field=False)


def every_combination():
    every = np.stack(np.meshgrid(*[np.arange(FIELD_SIZE)] * 5, indexing="ij"), axis=-1).reshape(-1, 5)
    return replace(rows("fixed"), ids=(every + FIELD_SIZE * np.arange(5)).astype(np.int32), y=None)


@pytest.mark.parametrize("name", ["fm", "ffm", "deepfm"])
def test_interactions_by_exchange_are_those_of_the_analysis_of_variance(name):
    """Of a model of pairs they are its pairs; of DeepFM all that two fields do together, third fields included."""
    deep = {"hidden_layer_sizes": (6,), "activation": "tanh"} if name == "deepfm" else {}
    made, given = artifact(name, n_factors=3, **deep), every_combination()
    if deep:
        made.parameters["output_weights"] *= 4
    found = strengths(made, given)
    whole = total_interaction(made, given, found.field_pairs, found.interaction, n_rows=FIELD_SIZE**5)
    if name != "deepfm":
        assert whole == pytest.approx(found.interaction, rel=0.05)
        return
    cube = explain_rows(made, given).logits.reshape([FIELD_SIZE] * 5)
    for place, (f, g) in enumerate(combinations(range(5), 2)):
        apart = cube - cube.mean(axis=f, keepdims=True)  # what is left has f in every part, and then g too
        apart = apart - apart.mean(axis=g, keepdims=True)
        assert whole[place] == pytest.approx(apart.std(), rel=0.05)
    assert np.abs(whole / found.interaction - 1).max() > 0.2


def test_interactions_by_exchange_know_weights_tags_and_few_rows():
    made, given = artifact("fm"), rows("values", n_rows=4000)
    weight = np.where(given.ids[:, 1] < FIELD_SIZE + 2, 3.0, 0.1).astype(np.float32)  # two values of field 2 count most
    given = replace(given, weight=weight)
    found = strengths(made, given)
    whole = total_interaction(made, given, found.field_pairs, found.interaction, n_rows=4000)
    assert whole == pytest.approx(found.interaction, rel=0.2)
    unweighted = total_interaction(made, replace(given, weight=None), found.field_pairs, found.interaction, n_rows=4000)
    assert np.abs(unweighted / found.interaction - 1).max() > 0.3
    assert not total_interaction(made, given.slice(0, 1), found.field_pairs, found.interaction).any()
    tags = rows("ragged", n_rows=200)
    of_tags = strengths(made, tags)
    pairs = of_tags.field_pairs
    assert (np.isnan(total_interaction(made, tags, pairs, of_tags.interaction)) == (pairs.first == pairs.second)).all()


def test_a_field_that_does_not_matter_has_no_importance():
    made, given = artifact("fm"), rows("ragged")
    made.parameters["linear"][:FIELD_SIZE] = 0
    made.parameters["factors"][:FIELD_SIZE] = 0
    found = permutation_importance(made, given)
    assert found.increase[0] == pytest.approx(0.0, abs=1e-6)
    assert np.abs(found.increase[1:]).min() > 1e-4


def test_factors_are_keyed_by_field_and_value(planted):
    artifact_, _ = planted
    frame = factors_table(artifact_)
    row = frame.filter(field="gender", value="F").row(0, named=True)
    feature = next(i for i in range(artifact_.n_features) if artifact_.encoder.feature(i) == ("gender", "F"))
    assert row["linear"] == artifact_.parameters["linear"][feature]
    assert row["count"] == artifact_.encoder.counts[feature]
    stored = artifact_.parameters.get("factors")
    if stored is None:
        stored = artifact_.parameters["field_factors"][:, 0]
        assert row["toward"] == "gender"
    assert [row[f"factor_{k + 1}"] for k in range(stored.shape[1])] == stored[feature].tolist()
    assert Model(artifact_).factors().equals(frame)
