"""Many values in one field: each with value 1/n."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyfm.data import Encoder, infer_schema
from anyfm.data.tags import TagsEncoder


def fitted(values: list[Any], **settings: Any) -> tuple[Encoder, Any]:
    frame = pl.DataFrame({"tags": values})
    schema = infer_schema(frame, overrides={"tags": {"kind": "tags", **settings}}, min_count=1)
    encoder, encoded = Encoder.fit_encode(frame, schema)
    return encoder, encoded.rows


class TestTags:
    @pytest.mark.parametrize(
        ("values", "settings"),
        [
            ([["a", "b"], ["b"], [], None, ["b", "c", "b"]], {}),
            (["a|b", "b", "", None, "b| c |b|"], {"separator": "|"}),
            (["a;b", " b", "?", None, "b;c;b"], {"separator": ";"}),
        ],
    )
    def test_tags_are_averaged_and_no_tag_is_missing(self, values: list[Any], settings: dict[str, Any]):
        encoder, rows = fitted(values, **settings)
        assert encoder.field_values("tags") == ["<unseen>", "<missing>", "b", "a", "c"]
        assert rows.offsets.tolist() == [0, 2, 3, 4, 5, 7]
        assert rows.ids.tolist() == [3, 2, 2, 1, 1, 2, 4]
        assert rows.values.tolist() == [0.5, 0.5, 1, 1, 1, 0.5, 0.5]
        assert encoder.counts.tolist() == [0, 2, 3, 1, 1]

    @given(st.lists(st.one_of(st.none(), st.lists(st.sampled_from("abcdef"))), min_size=1, max_size=20))
    def test_values_of_a_row_sum_to_one(self, values: list[Any]):
        tags, coded = TagsEncoder.fit(pl.Series("x", values, pl.List(pl.String)), separator=None, min_count=2)
        assert coded.lengths is not None
        assert coded.values is not None
        sums = np.add.reduceat(coded.values, np.cumsum(coded.lengths) - coded.lengths)
        np.testing.assert_allclose(sums, 1, rtol=1e-6)
        assert coded.lengths.tolist() == [max(len(set(v or [])), 1) for v in values]
        assert tags.counts.sum() == coded.lengths.sum()

    def test_lists_of_numbers_are_numbers(self):
        encoder, _ = fitted([[1, 2], [2]])
        assert encoder.field_values("tags") == ["<unseen>", "<missing>", 2, 1]
        assert encoder.encode_one({"tags": [2, 9]}).ids.tolist() == [2, 0]

    def test_lists_are_encoded_like_the_text_of_training(self):
        encoder, rows = fitted(["a|b", "b"], separator="|")
        encoded = encoder.encode(pl.DataFrame({"tags": [["a", "b"], ["b"]]})).rows
        assert encoded.ids.tolist() == rows.ids.tolist()

    def test_entries_of_ragged_rows_are_in_the_order_of_fields(self):
        frame = pl.DataFrame({"x": ["u", "v"], "tags": [["a", "b", "c"], []], "z": ["p", "q"]})
        schema = infer_schema(
            frame,
            overrides={
                n: {"kind": k, "min_count": 1}
                for n, k in [("x", "categorical"), ("tags", "tags"), ("z", "categorical")]
            },
        )
        encoder, encoded = Encoder.fit_encode(frame, schema)
        rows = encoded.rows
        assert rows.fields is not None
        assert rows.fields.tolist() == [0, 1, 1, 1, 2, 0, 1, 2]
        assert [encoder.feature(int(i)) for i in rows.ids] == [
            ("x", "u"), ("tags", "a"), ("tags", "b"), ("tags", "c"), ("z", "p"),
            ("x", "v"), ("tags", "<missing>"), ("z", "q"),
        ]  # fmt: skip
