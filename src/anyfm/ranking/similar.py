"""Items that are like an item: the cosine similarity of the vectors of whole items."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from anyfm.ranking.items import Items
from anyfm.ranking.recommend import check_k


def similar_items(items: Items, key: Any, k: int) -> pl.DataFrame:
    """The k items whose vectors are most similar to that of `key`; see `anyfm.Model.similar_items`."""
    check_k(k)
    directions = items.directions
    chosen = items.position(key)
    cosines = directions @ directions[chosen]
    others = np.flatnonzero(directions.any(axis=1) & (np.arange(len(items)) != chosen))
    order = others[np.argsort(-cosines[others], kind="stable")[:k]]
    return pl.DataFrame(
        [
            items.keys.gather(order),
            pl.Series("score", cosines[order]),
            pl.Series("rank", np.arange(1, len(order) + 1, dtype=np.int32)),
        ]
    )
