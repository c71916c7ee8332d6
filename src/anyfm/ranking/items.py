"""The items that a model ranks: a table, encoded once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.core.forks import check_polars
from anyfm.core.rows import Rows
from anyfm.data.messages import check_choice
from anyfm.models.pairs import Indices
from anyfm.ranking.halves import HalfEncoder, join
from anyfm.ranking.inner_products import InnerProducts


class Items:
    """Items of a model, encoded, with what ranking can compute of them before a context is known.

    Made by `anyfm.Model.items`. The fields of the model whose columns the table has belong to the items; the others
    are the context's.

    Parameters
    ----------
    artifact : Artifact
    frame : polars DataFrame
    key : str
        The column whose values name the items, each once.

    Attributes
    ----------
    key : str
    keys : polars Series
        In the order of the table.
    rows : Rows
        The items' halves of rows.
    report : EncodingReport
        What was unseen and missing in the items.
    context : HalfEncoder
        Encodes the other halves.

    Raises
    ------
    InputError
        The table has no rows or no column of the model, or a key is missing or occurs twice.
    SettingError
        There is no column `key`.
    """

    def __init__(self, artifact: Artifact, frame: pl.DataFrame, *, key: str) -> None:
        check_polars("encoding items")
        encoder = artifact.require_encoder()
        check_choice("key", key, frame.columns, what="a column of the items")
        self.artifact = artifact
        self.key = key
        self.keys = _checked_keys(frame[key])
        own = [at for at, field in enumerate(encoder.fields) if field.column in frame.columns]
        if not own:
            columns = ", ".join(encoder.columns)
            raise InputError(got(f"items must have a column of the model ({columns})", columns=frame.columns))
        half = HalfEncoder(encoder, own)
        self.fields = half.fields
        encoded = half.encode(frame)
        self.rows: Rows = encoded.rows
        self.report = encoded.report
        self._template: tuple[Rows, Indices] | None = None  # all items joined with a context, and where its entries are
        self.context = HalfEncoder(encoder, [at for at in range(encoder.n_fields) if at not in set(own)])

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"Items({len(self):,} by {self.key!r}, context: {', '.join(self.context.columns) or 'none'})"

    @cached_property
    def inner_products(self) -> InnerProducts | None:
        """The items' vectors; None for a model whose logit is not one inner product of context and item."""
        return InnerProducts.of(self.artifact, self.rows, own=self.fields, other=self.context.fields)

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """The vectors of the items divided by their lengths (zeros stay), (n_items, D).

        Raises
        ------
        SettingError
            The model has no pair terms.
        """
        form = self.inner_products
        if self.artifact.model.pair_terms() is None:
            raise SettingError(got("similar items need a model with factors", model=self.artifact.model.name))
        if form is None:
            form = InnerProducts(self.artifact, self.rows, self.fields, self.context.fields)
        vectors = form.vectors[:, :-1].astype(np.float64)
        lengths = np.sqrt((vectors**2).sum(1, keepdims=True))
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))

    @cached_property
    def _positions(self) -> dict[Any, int]:
        return {key: position for position, key in enumerate(self.keys.to_list())}

    def joined(self, context: Rows) -> Rows:
        """All items joined with one context, as `anyfm.ranking.halves.join` does."""
        if context.is_ragged or not self.rows.is_ragged:
            return join(context, self.rows, n_fields=self.artifact.n_fields)
        if self._template is None:
            joined = join(context, self.rows, n_fields=self.artifact.n_fields)
            assert joined.fields is not None
            places = np.flatnonzero(np.isin(joined.fields, self.context.fields))
            self._template = joined, places.reshape(len(self), -1)
        template, places = self._template
        ids = template.ids.copy()
        ids[places] = context.ids
        values = template.values
        if context.values is not None and values is not None:
            values = values.copy()
            values[places] = context.values
        return replace(template, ids=ids, values=values)

    def named(self, positions: Indices) -> pl.Series:
        """The keys of the items in these rows."""
        keys = self._key_array
        if keys is None:
            return self.keys.gather(positions)
        chosen = keys[positions]
        return pl.Series(self.keys.name, chosen.tolist() if chosen.dtype == object else chosen, self.keys.dtype)

    @cached_property
    def _key_array(self) -> NDArray[Any] | None:
        """Numbers and text as an array: for some hundred keys a tenth of the time that polars takes to gather them."""
        if self.keys.dtype.is_numeric():
            return self.keys.to_numpy()
        return np.array(self.keys.to_list(), object) if self.keys.dtype == pl.String else None

    def __contains__(self, key: Any) -> bool:
        """Whether there is an item of this key."""
        return key in self._positions

    def position(self, key: Any) -> int:
        """The row of an item.

        Raises
        ------
        InputError
            There is no such item.
        """
        if key not in self._positions:
            raise InputError(located("there is no such item", column=self.key, value=key))
        return self._positions[key]

    def positions(self, keys: Any, *, what: str = "exclude") -> Indices:
        """The rows of the items among `keys`, ascending; keys of no item are passed over.

        Raises
        ------
        SettingError
            `keys` is text or no collection; the message calls it `what`.
        """
        values = keys.tolist() if hasattr(keys, "tolist") else keys.to_list() if hasattr(keys, "to_list") else keys
        if isinstance(values, (str, bytes)) or not isinstance(values, Collection):
            raise SettingError(got(f"{what} must be a collection of keys of items", **{what: keys}))
        found = {self._positions[value] for value in values if value in self._positions}
        return np.array(sorted(found), np.int64)


def _checked_keys(keys: pl.Series) -> pl.Series:
    if len(keys) == 0:
        raise InputError("items must have at least one row, but the table has none")
    if keys.null_count():
        row = int(keys.is_null().arg_max() or 0) + 1
        raise InputError(located("every item must have a key", row=row, column=keys.name))
    if keys.n_unique() < len(keys):
        row = int(keys.is_first_distinct().not_().arg_max() or 0)
        problem = "every key must stand in one row of the items, but this one stands in several"
        raise InputError(located(problem, row=row + 1, column=keys.name, value=keys[row]))
    return keys
