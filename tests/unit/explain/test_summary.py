"""The summary of a table, weights of field pairs, and how explanations are shown in a notebook."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from anyfm.core.errors import InputError
from anyfm.explain.contributions import explain_rows
from anyfm.explain.interaction_strength import strengths
from anyfm.explain.permutation_importance import permutation_importance
from anyfm.explain.summary import summarize
from anyfm.models import MODELS
from tests.unit.explain.models import N_FIELDS, WeightedFM, artifact, field_pair_weights, rows


@pytest.mark.parametrize("name", list(MODELS))
def test_a_summary_holds_what_its_parts_say(name):
    made, given = artifact(name), rows("fixed", n_rows=300)
    found = summarize(made, given, n_value_pairs=3)
    fields, pairs = found.fields(), found.pairs()
    assert fields.height == 5
    assert fields["importance"].is_sorted(descending=True)
    assert sorted(fields["main_effect"]) == pytest.approx(sorted(found.strengths.main))
    has_mlp = made.model.mlp(made.parameters) is not None
    pair_terms = made.model.pair_terms()
    assert (found.total is not None) == ("total_interaction_strength" in pairs.columns) == has_mlp
    assert ("attention" in pairs.columns) == (pair_terms is not None and pair_terms.has_weights)
    assert pairs.height == len(found.values) == 0 if pair_terms is None else pairs.height == 10
    if pair_terms is not None:
        assert pairs["total_interaction_strength" if has_mlp else "interaction_strength"].is_sorted(descending=True)
        assert found.value_pairs().columns[:4] == ["field", "value", "other_field", "other_value"]
    unlabelled = summarize(made, replace(given, y=None)).fields()
    assert "importance" not in unlabelled.columns
    of_both_parts = [name for name in ("main_effect", "mlp_mean_absolute_contribution") if name in unlabelled.columns]
    assert unlabelled.select(pl.sum_horizontal(of_both_parts)).to_series().is_sorted(descending=True)
    with pytest.raises(InputError, match="at least one row"):
        summarize(made, given.slice(0, 0))


# --- weights of field pairs ------------------------------------------------------------------------------------------


def weighted_artifact():
    plain = artifact("fm", n_factors=3)
    return replace(plain, model=WeightedFM(plain.model.settings))


def test_weights_of_field_pairs_are_in_the_terms_and_in_the_summary():
    given = rows("fixed", n_rows=200)
    plain, weighted = explain_rows(artifact("fm", n_factors=3), given), explain_rows(weighted_artifact(), given)
    pairs = weighted.field_pairs
    assert weighted.pairs == pytest.approx(plain.pairs * field_pair_weights(N_FIELDS)[pairs.first, pairs.second])
    found = summarize(weighted_artifact(), given)
    assert found.field_pair_weights == pytest.approx(field_pair_weights(N_FIELDS), nan_ok=True)
    for record in found.pairs().to_dicts():
        first, second = (int(record[key].removeprefix("field_")) for key in ("field", "other_field"))
        assert record["field_pair_weight"] == field_pair_weights(N_FIELDS)[first, second]
    assert summarize(artifact("fm"), given).field_pair_weights is None
    assert "field_pair_weight" not in summarize(artifact("fm"), given).pairs().columns


# --- notebooks -------------------------------------------------------------------------------------------------------


class Table(HTMLParser):
    """The cells of each row of a table, and all elements."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.elements = [], set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.rows[-1][-1] += data


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("n_rows", [0, 1, 3000])
def test_contributions_are_shown_in_a_small_escaped_table(name, n_rows):
    found = explain_rows(artifact(name), rows("fixed", n_rows=n_rows))
    hostile = ("<script>alert(1)</script>" * 50,) * n_rows
    found = replace(found, values=(hostile,) * N_FIELDS)
    assert len(repr(found)) < 120
    assert "\n" not in repr(found)
    assert f"{n_rows:,} rows" in repr(found)
    page = found._repr_html_()
    table = Table(page)
    assert len(page) < 5_000
    assert len(table.rows) <= 20
    assert table.elements | {"td"} == {"table", "thead", "tbody", "tr", "th", "td"}
    if n_rows:
        shown = [float(row[0]) for row in table.rows[1:]]
        assert sum(shown) == pytest.approx(found.logits[0], abs=1e-3 * len(shown))
        assert any("<script>" in row[1] for row in table.rows[1:])


@pytest.mark.parametrize("name", list(MODELS))
def test_strengths_and_summaries_are_shown_small(name):
    made, given = artifact(name), rows("ragged")
    found = strengths(made, given)
    for shown in (found, found.field_pairs, permutation_importance(made, given), summarize(made, given)):
        assert len(repr(shown)) < 120
        assert "\n" not in repr(shown)
    table = Table(summarize(made, given)._repr_html_())
    assert 5 < len(table.rows) <= 20
    strongest = summarize(made, given).fields().row(0, named=True)
    assert table.rows[1] == [strongest["field"], f"{strongest['importance']:.4f}", "importance"]


@pytest.mark.parametrize("name", ["fm", "ffm", "deepfm"])
def test_few_rows_are_measured_of_many_fields(name: str, monkeypatch: pytest.MonkeyPatch):
    made, given = artifact(name), rows("fixed", n_rows=4000)
    whole = summarize(made, given)
    assert whole.n_rows == 4000
    monkeypatch.setattr("anyfm.explain.summary._MAX_PAIRS", 1000 * (given.ids.shape[1] ** 2 + 1))
    monkeypatch.setattr("anyfm.explain.summary._MAX_ENTRIES", 1)
    monkeypatch.setattr("anyfm.explain.interaction_strength.MAX_SCORED_ENTRIES", 3 * 200 * given.ids.shape[1])
    found = summarize(made, given)
    assert found.n_rows == 1000
    assert found.importance is not None
    assert found.importance.n_rows == 100
    assert found.strengths.interaction == pytest.approx(whole.strengths.interaction, rel=0.2, abs=0.02)
    if found.total is not None:
        assert 0 < np.isfinite(found.total).sum() <= 3
        assert np.isfinite(found.total[np.argmax(found.strengths.interaction)])
