"""The best items for one context or for a whole table of them, exactly as sorting the scores of all would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import InputError, SettingError, got
from anyfm.core.forks import check_polars
from anyfm.core.rows import Rows, Targets
from anyfm.core.threads import available_threads
from anyfm.data.messages import missing_column
from anyfm.engines.scorer import Scorer
from anyfm.models.pairs import Indices
from anyfm.ranking.halves import join
from anyfm.ranking.items import Items

_ALL_AT_ONCE = 1024  # up to this many items, scoring all costs less than finding candidates
_BLOCK_ROWS = 1 << 18  # joined rows that lie in memory at a time
_BLOCK_CONTEXTS = 4096


def recommend(
    scorer: Scorer, context: Mapping[str, Any], items: Items, k: int, *, exclude: Any = None, only: Any = None
) -> pl.DataFrame:
    """The k items of the highest scores for one context; see `anyfm.Model.recommend`."""
    check_k(k)
    row = items.context.encode_one(context)
    skip = np.empty(0, np.int64) if exclude is None else items.positions(exclude)
    form = items.inner_products if only is None and len(items) > _ALL_AT_ONCE else None
    if only is not None:
        positions = np.setdiff1d(items.positions(only, what="only"), skip, assume_unique=True)
    elif form is None:
        positions = np.delete(np.arange(len(items)), skip)
    else:
        offsets = np.array([0, len(skip)])
        positions = form.shortlist(row, k, skip_offsets=offsets, skip=skip.astype(np.int32), n_threads=1)[1]
    return _best(scorer, row, items, positions, k)


def rank(scorer: Scorer, context: Mapping[str, Any], items: Items) -> pl.DataFrame:
    """All items by falling score for one context; see `anyfm.Model.rank`."""
    return _best(scorer, items.context.encode_one(context), items, np.arange(len(items)), len(items))


def recommend_all(
    scorer: Scorer,
    users: pl.DataFrame,
    items: Items,
    k: int,
    *,
    exclude: pl.DataFrame | None = None,
    user: str | None = None,
    n_threads: int = 0,
) -> pl.DataFrame:
    """The k best items for every row of `users`; see `anyfm.Model.recommend_all`."""
    check_polars("recommend_all")
    check_k(k)
    if user is None and exclude is not None:
        user = _shared_column(users, exclude, items.key)
    names = pl.Series("row", np.arange(users.height)) if user is None else _column(users, user, "the users")
    if names.name == items.key:
        rule = "the users and the items must be named by different columns"
        raise SettingError(got(rule, user=names.name, key=items.key))
    contexts = items.context.encode(users).rows
    offsets, skip = _excluded(names, items, exclude)
    found: list[tuple[Indices, Indices, Targets, Indices]] = []
    threads = n_threads or available_threads()
    size = _BLOCK_CONTEXTS if items.inner_products is not None else max(1, _BLOCK_ROWS // len(items))
    for first in range(0, max(contexts.n_rows, 1), size):
        part = contexts.slice(first, first + size)
        of_part = offsets[first : first + part.n_rows + 1]
        block = _best_of_block(scorer, part, items, k, of_part - of_part[0], skip[of_part[0] : of_part[-1]], threads)
        found.append((block[0] + first, *block[1:]))
    rows, positions, logits, ranks = (np.concatenate(column) for column in zip(*found, strict=True))
    return pl.DataFrame([names.gather(rows), *_result(items, positions, logits, ranks)])


def check_k(k: int) -> None:
    """Raise SettingError unless k is a positive integer."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise SettingError(got("k must be an integer of at least 1", k=k))


# --- one context


def _best(scorer: Scorer, context: Rows, items: Items, positions: Indices, k: int) -> pl.DataFrame:
    logits = _logits(scorer, context, items, positions)
    order = _top(logits, k)
    ranks = np.arange(1, len(order) + 1)
    return pl.DataFrame(_result(items, positions[order], logits[order], ranks))


def _logits(scorer: Scorer, context: Rows, items: Items, positions: Indices) -> Targets:
    n_fields = items.artifact.n_fields
    if len(positions) <= _BLOCK_ROWS:
        if len(positions) == len(items):
            return scorer.logits(items.joined(context))
        return scorer.logits(join(context, items.rows.take(positions), n_fields=n_fields))
    parts = range(0, len(positions), _BLOCK_ROWS)
    return np.concatenate([_logits(scorer, context, items, positions[at : at + _BLOCK_ROWS]) for at in parts])


def _top(logits: Targets, k: int) -> Indices:
    """The indices of the k highest, highest first, ties by order."""
    if k >= len(logits):
        return np.argsort(-logits, kind="stable")
    kth = np.partition(logits, len(logits) - k)[len(logits) - k]
    candidates = np.flatnonzero(logits >= kth)
    return candidates[np.argsort(-logits[candidates], kind="stable")[:k]]


def _result(items: Items, positions: Indices, logits: Targets, ranks: Indices) -> list[pl.Series]:
    scores = np.asarray(items.artifact.predictions(logits), logits.dtype)
    return [
        items.named(positions),
        pl.Series("score", scores),
        pl.Series("rank", ranks.astype(np.int32)),
    ]


# --- many contexts


def _best_of_block(
    scorer: Scorer, contexts: Rows, items: Items, k: int, offsets: Indices, skip: NDArray[np.int32], n_threads: int
) -> tuple[Indices, Indices, Targets, Indices]:
    """The contexts' numbers, ascending, and the positions, logits and ranks of their k best items, best first.
    `offsets` and `skip` as for `InnerProducts.shortlist`."""
    n, form = contexts.n_rows, items.inner_products
    if form is not None:
        ends, positions = form.shortlist(contexts, k, skip_offsets=offsets, skip=skip, n_threads=n_threads)
        context = np.repeat(np.arange(n), np.diff(ends))
    else:
        wanted = np.ones((n, len(items)), bool)
        wanted[np.repeat(np.arange(n), np.diff(offsets)), skip] = False
        context, positions = np.nonzero(wanted)
    parts = [slice(at, at + _BLOCK_ROWS) for at in range(0, max(len(context), 1), _BLOCK_ROWS)]
    pairs = ((contexts.take(context[part]), items.rows.take(positions[part])) for part in parts)
    n_fields = items.artifact.n_fields
    logits = np.concatenate([scorer.logits(join(*pair, n_fields=n_fields)) for pair in pairs])
    order = np.lexsort((-logits, context))  # stable: ties stay in the order of the items
    begins = np.searchsorted(context[order], np.arange(n + 1))
    ranks = np.arange(1, len(order) + 1) - np.repeat(begins[:-1], np.diff(begins))
    order, ranks = order[ranks <= k], ranks[ranks <= k]
    return context[order], positions[order], logits[order], ranks


def _excluded(names: pl.Series, items: Items, exclude: pl.DataFrame | None) -> tuple[Indices, NDArray[np.int32]]:
    """Offsets (n + 1,) into positions, ascending for each user, of the items that the user's row leaves out."""
    n = len(names)
    if exclude is None:
        return np.zeros(n + 1, np.int64), np.empty(0, np.int32)
    pairs = pl.DataFrame(
        [
            _as_type(_column(exclude, names.name, "exclude"), names, "user"),
            _as_type(_column(exclude, items.key, "exclude"), items.keys, "item"),
        ]
    ).unique()
    users = pl.DataFrame([names.alias("user"), pl.Series("row", np.arange(n))])
    known = pl.DataFrame([items.keys.alias("item"), pl.Series("position", np.arange(len(items), dtype=np.int32))])
    found = pairs.join(users, on="user").join(known, on="item").sort("row", "position")
    offsets = np.searchsorted(found["row"].to_numpy(), np.arange(n + 1)).astype(np.int64)
    return offsets, np.ascontiguousarray(found["position"].to_numpy())


def _as_type(column: pl.Series, like: pl.Series, name: str) -> pl.Series:
    """The column of `exclude` in the type of the column that it is compared with."""
    if column.dtype != like.dtype and not (column.dtype.is_integer() and like.dtype.is_integer()):
        rule = f"the column {column.name!r} of exclude must have the type of the column that it is compared with"
        raise InputError(got(rule, exclude=str(column.dtype), other=str(like.dtype)))
    cast: pl.Series = column.cast(like.dtype, strict=False).rename(name)
    return cast


def _column(frame: pl.DataFrame, name: str, what: str) -> pl.Series:
    if name not in frame.columns:
        raise missing_column(what, name, frame.columns)
    return frame[name]


def _shared_column(users: pl.DataFrame, exclude: pl.DataFrame, key: str) -> str:
    shared = [name for name in users.columns if name in exclude.columns and name != key]
    if len(shared) != 1:
        rule = (
            "user must name the column of users and exclude that says who, where they do not have exactly one in common"
        )
        raise SettingError(got(rule, in_common=shared))
    return shared[0]
