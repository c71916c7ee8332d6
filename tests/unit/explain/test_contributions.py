"""The terms of a row add up to its logit, and each is what the formula says."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.engines.scorer import NativeScorer
from anyfm.explain.contributions import explain, explain_rows
from anyfm.explain.integrated_gradients import integrated_gradients
from anyfm.models import MODELS
from anyfm.models.base import gather
from anyfm.pipeline import train
from tests.unit.explain.models import CASES, FIELD_SIZE, KINDS, N_FIELDS, artifact, model, rows


def specification(made, of_rows):
    """The logits in float64, from the model's own expression."""
    specs = made.model.parameter_specs(made.n_features, made.n_fields)
    return made.model.logits(gather(made.parameters, of_rows, specs, normalize=made.model.normalize))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_terms_add_up_to_the_logit(name, settings, kind):
    made, given = artifact(name, **settings), rows(kind)
    found = explain_rows(made, given)
    expected = specification(made, given)
    close = 1e-6 if name == "deepfm" else 1e-9  # its batch normalization is folded into float32 weights
    assert found.logits == pytest.approx(expected, rel=close, abs=close)
    engine = NativeScorer(made.model, made.parameters, n_fields=made.n_fields, n_threads=1).logits(given)
    assert np.abs(found.logits - engine).max() < 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fm", "ffm"])
def test_a_pair_term_is_the_sum_over_its_entries(name, kind):
    made, given = artifact(name), rows(kind)
    found = explain_rows(made, given)
    factors = made.parameters["factors" if name == "fm" else "field_factors"].astype(float)
    for row in range(given.n_rows):
        one = given.slice(row, row + 1)
        ids = one.ids.reshape(-1)
        x = np.ones(len(ids)) if one.values is None else one.values.reshape(-1).astype(float)
        expected = np.zeros((N_FIELDS, N_FIELDS))
        for i in range(len(ids)):
            for j in range(i):
                f, g = sorted((ids[i] // FIELD_SIZE, ids[j] // FIELD_SIZE))
                u, v = (ids[i], ids[j]) if f == ids[i] // FIELD_SIZE else (ids[j], ids[i])
                product = factors[u] @ factors[v] if name == "fm" else factors[u, g] @ factors[v, f]
                expected[f, g] += product * x[i] * x[j]
        pairs = found.field_pairs
        assert found.pairs[row] == pytest.approx(expected[pairs.first, pairs.second], abs=1e-9)
        expected[pairs.first, pairs.second] = 0
        assert not expected.any()  # no pair of fields was forgotten


@pytest.mark.parametrize("kind", KINDS)
def test_attention_weights_of_a_row_sum_to_one(kind):
    made, given = artifact("afm"), rows(kind)
    found = explain_rows(made, given)
    lengths = np.full(given.n_rows, N_FIELDS) if given.offsets is None else np.diff(given.offsets)
    assert found.attention.sum(axis=1)[lengths >= 2] == pytest.approx(1.0)
    assert not found.attention[lengths < 2].any()


def test_attention_weighs_the_term():
    made, given = artifact("afm"), rows("fixed")
    found = explain_rows(made, given)
    factors, projection = made.parameters["factors"].astype(float), made.parameters["projection"].astype(float)
    of_slots = factors[given.ids]
    pairs = found.field_pairs
    unweighed = (of_slots[:, pairs.first] * of_slots[:, pairs.second]) @ projection
    assert found.pairs == pytest.approx(found.attention * unweighed)


class TestDeepFM:
    def test_the_fm_half_is_exact(self):
        deep, given = artifact("deepfm", n_factors=8, hidden_layer_sizes=(6,)), rows("fixed")
        shallow = replace(
            deep,
            model=model("fm", n_factors=8),
            parameters={k: deep.parameters[k] for k in ("bias", "linear", "factors")},
        )
        found, expected = explain_rows(deep, given), explain_rows(shallow, given)
        assert found.pairs == pytest.approx(expected.pairs)
        assert found.linear == pytest.approx(expected.linear)
        assert found.mlp is not None
        assert np.abs(found.mlp).max() > 0.01

    @pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
    def test_the_residual_is_small_and_falls_with_more_steps(self, activation):
        made = artifact("deepfm", n_factors=4, hidden_layer_sizes=(16, 8), activation=activation)
        network = made.model.mlp(made.parameters)
        vectors = np.random.default_rng(0).normal(size=(50, N_FIELDS, 4))
        coarse, fine = (np.abs(integrated_gradients(network, vectors, n_steps=n).residual).mean() for n in (4, 64))
        assert fine < coarse / 3
        scale = np.abs(network.logits(vectors.reshape(50, -1))).mean()
        assert fine < 0.02 * scale

    def test_a_linear_perceptron_is_attributed_without_residual(self):
        made = artifact("deepfm", n_factors=2, hidden_layer_sizes=(3,))
        made.parameters["hidden_0_bias"][:] = 1000  # ReLU never bends
        part = integrated_gradients(
            made.model.mlp(made.parameters), np.random.default_rng(0).normal(size=(20, N_FIELDS, 2))
        )
        assert part.residual == pytest.approx(np.zeros(20), abs=1e-6)  # gradients are float32


@pytest.fixture(scope="module")
def predictor():
    rng = np.random.default_rng(0)
    n = 2_000
    columns = {
        "color": rng.choice(["red", "green", "blue"], n),
        "size": rng.normal(10, 3, n).round(2),
        "tags": ["|".join(rng.choice(["a", "b", "c", "d"], rng.integers(0, 4), replace=False)) for _ in range(n)],
        "click": rng.integers(0, 2, n),
    }
    fields = {"tags": {"kind": "tags", "separator": "|"}, "color": "categorical", "size": "numeric"}
    return train(columns, "click", search=False, fields=fields, epochs=2), columns


def test_names_and_original_values(predictor):
    scorer, columns = predictor
    found = scorer.explain({name: column[:4] for name, column in columns.items()})
    assert found.field_names == ("color", "size", "tags")
    assert found.values[0] == tuple(columns["color"][:4])
    assert found.values[1] == tuple(f"{value:.10g}" for value in columns["size"][:4])
    assert found.logits == pytest.approx(scorer.logits(columns)[:4], abs=1e-5)
    strongest = found.terms(0)[1:]
    assert [abs(term.contribution) for term in strongest] == sorted(
        (abs(t.contribution) for t in strongest), reverse=True
    )
    assert found.describe(0, top=2).count("\n") == len(found.terms(0, top=2))  # and a line before them


def test_rows_are_named_by_the_encoder(predictor):
    scorer, columns = predictor
    encoded = scorer.encode({name: column[:30] for name, column in columns.items()}).rows
    found = scorer.explain(encoded)
    assert found.values[0] == tuple(columns["color"][:30])
    tags = [set(text.split("|")) if text else {"<missing>"} for text in columns["tags"][:30]]
    assert [set(text.split(" | ")) for text in found.values[2]] == tags
    assert found.logits == pytest.approx(scorer.explain(columns).logits[:30])


def test_pairs_within_a_field_are_told_apart_and_only_where_there_are_some(predictor):
    scorer, columns = predictor
    found = scorer.explain({**{name: column[:3] for name, column in columns.items()}, "tags": ["a", "a|b", ""]})
    names = [[term.name for term in found.terms(row)] for row in range(3)]
    assert "pairs within tags=a|b" in names[1]
    assert not [name for row in (0, 2) for name in names[row] if name.startswith("pairs within")]


@pytest.mark.parametrize("top", [None, 0, 2, 100])
def test_the_tidy_table_adds_up(predictor, top):
    scorer, columns = predictor
    found = scorer.explain(columns)
    frame = found.table(top=top)
    totals = frame.group_by("row").agg(pl.col("contribution").sum()).sort("row")
    assert totals["row"].to_list() == list(range(1, 2_001))
    assert totals["contribution"].to_numpy() == pytest.approx(found.logits)
    keys = ["row", "kind", "field", "value", "other_field", "other_value"]
    assert frame.columns == [*keys, "contribution", "attention", "unweighted"]
    assert frame.schema["other_value"] == pl.String
    pair = frame.filter(kind="pair", row=7, field="color", other_field="size")
    if top is None:
        assert pair["value"].item() == columns["color"][6]
        assert pair["other_value"].item() == f"{columns['size'][6]:.10g}"
        assert len(frame.to_pandas()) == len(frame)


@pytest.mark.parametrize("top", [0, 3, 9])
def test_what_is_left_out_is_summed_by_kind(top):
    """The terms of one row and the tidy table say the same, and no term is counted twice."""
    found = explain_rows(artifact("deepfm", hidden_layer_sizes=(4,)), rows("fixed", n_rows=6))
    frame = found.table(top=top)
    for row in range(6):
        terms = found.terms(row, top=top)
        rest = {term.kind: term for term in terms if term.kind.startswith("rest")}
        assert sum(term.n_terms for term in terms) == 3 + 2 * N_FIELDS + len(found.field_pairs)
        assert sum(term.contribution for term in terms) == pytest.approx(found.logits[row])
        tidy = frame.filter((pl.col("row") == row + 1) & pl.col("kind").str.starts_with("rest"))
        assert dict(tidy.select("kind", "contribution").iter_rows()) == pytest.approx(
            {kind: term.contribution for kind, term in rest.items()}
        )
        if top == 0:
            assert rest["rest pair"].contribution == pytest.approx(found.pairs[row].sum())
            assert rest["rest mlp"].name == f"other fields, MLP ({N_FIELDS})"


def test_attention_stands_beside_the_term_it_weighs():
    made = artifact("afm")
    found = explain_rows(made, rows("fixed", n_rows=5))
    factors, projection = (made.parameters[name].astype(float) for name in ("factors", "projection"))
    ids = rows("fixed", n_rows=5).ids
    frame = found.table().filter(kind="pair")
    assert frame.height == 5 * len(found.field_pairs)
    assert (frame["attention"] * frame["unweighted"]).to_numpy() == pytest.approx(frame["contribution"].to_numpy())
    one = frame.filter(row=2, field="field_0", other_field="field_2").row(0, named=True)
    assert one["unweighted"] == pytest.approx((factors[ids[1, 0]] * factors[ids[1, 2]]) @ projection)
    term = next(term for term in found.terms(1) if term.fields == ("field_0", "field_2"))
    assert term.unweighted == pytest.approx(one["unweighted"])
    assert f"attention {term.attention:.3f} × {term.unweighted:+.4f}" in found.describe(1, top=None)
    plain = next(t for t in found.to_dict()["rows"][1]["terms"] if t.get("other_field") == "field_2")
    assert plain["attention"] * plain["unweighted"] == pytest.approx(plain["contribution"])
    assert found.table().filter(kind="linear")["unweighted"].null_count() == 5 * N_FIELDS


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl", ".json"])
def test_contributions_are_written(predictor, tmp_path, ending):
    scorer, columns = predictor
    found = scorer.explain({name: column[:5] for name, column in columns.items()})
    found.write(tmp_path / f"out{ending}")
    if ending == ".json":
        content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        sums = [sum(term["contribution"] for term in row["terms"]) for row in content["rows"]]
        assert sums == pytest.approx(found.logits)
        assert sums == pytest.approx([row["logit"] for row in content["rows"]])
        return
    read = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}[ending]
    frame = read(tmp_path / f"out{ending}")
    totals = frame.group_by("row").agg(pl.col("contribution").sum()).sort("row")["contribution"]
    assert totals.to_numpy() == pytest.approx(found.logits)


def test_what_cannot_be_explained_is_refused(predictor):
    scorer, columns = predictor
    with pytest.raises(InputError, match="size"):
        scorer.explain({"color": columns["color"], "tags": columns["tags"]})
    with pytest.raises(SettingError, match="row=3"):
        scorer.explain({name: column[:3] for name, column in columns.items()}).terms(3)
    with pytest.raises(InputError, match="feature id"):
        explain(artifact("fm"), replace(rows("fixed"), ids=rows("fixed").ids + 1))


def test_no_rows_are_explained_too():
    found = explain(artifact("fm"), rows("fixed").slice(0, 0))
    assert found.n_rows == 0
    assert len(found.table()) == 0


@pytest.mark.parametrize("name", list(MODELS))
def test_ten_thousand_rows_of_39_fields_take_less_than_5_seconds(name):
    made = artifact(name, n_fields=39, n_features=39 * 100)
    ids = np.random.default_rng(0).integers(0, 100, (10_000, 39)) + 100 * np.arange(39)
    given = replace(rows("fixed"), ids=ids.astype(np.int32), y=None)
    began = time.process_time()  # of all threads together
    found = explain_rows(made, given)
    assert time.process_time() - began < 5
    assert found.pairs.shape == ((10_000, 0) if name == "linear" else (10_000, 741))
