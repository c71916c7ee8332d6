"""Ids of text files as numbers without gaps: for ids of 64 bits, for a few ids spread over a wide range, for groups.

The parser reads ids below 2³¹. Text with larger ones, or with ``qid:``, is rewritten block by block before it is
parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from anyfm.core.rows import Rows

MIN_SPREAD = 4
MIN_FEATURES = 1_000_000
"""Ids are numbered where at least this many features would be needed for less than a quarter as many ids."""
FeatureIds = NDArray[np.uint64]

_QID = re.compile(rb"[ \t]+qid:(\d+)(?=[ \t\r\n]|$)")
_ID = {"libsvm": re.compile(rb"(?<=[ \t])\d+(?=:)"), "libffm": re.compile(rb"(?<=:)\d+(?=:)")}


@dataclass
class Renumbered:
    """Rewrites text of one format; ids become numbers in the order of their first occurrence.

    Attributes
    ----------
    numbers : dict of bytes to bytes
        The number of each id.
    groups : list of int
        The ``qid`` of each row that has one.
    """

    format: str
    numbers: dict[bytes, bytes] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)

    def __call__(self, text: bytes) -> bytes:
        """Rewrite whole lines."""
        if self.format == "libsvm" and b"qid:" in text:
            self.groups += map(int, _QID.findall(text))
            text = _QID.sub(b"", text)
        return _ID[self.format].sub(self._number, text)

    def _number(self, found: re.Match[bytes]) -> bytes:
        text = found[0].lstrip(b"0") or b"0"
        if len(text) > 20 or int(text) > 2**64 - 1:
            return found[0]  # for the parser to refuse
        number = self.numbers.get(text)
        if number is None:
            number = self.numbers[text] = b"%d" % len(self.numbers)
        return number

    def ids(self) -> FeatureIds:
        """The id that each number stands for."""
        return np.array([int(text) for text in self.numbers], np.uint64)


def is_sparse(ids: NDArray[np.integer], n_features: int) -> tuple[bool, FeatureIds]:
    """Whether few ids are spread over a wide range; and the ids that occur, ascending."""
    if n_features < MIN_FEATURES:
        return False, np.zeros(0, np.uint64)
    distinct = np.unique(ids).astype(np.uint64)
    return n_features > MIN_SPREAD * len(distinct), distinct


def with_numbers(rows: Rows, ids: NDArray[np.integer], known: FeatureIds) -> tuple[Rows, int]:
    """The rows with the number of each id among `known` (ascending); entries of other ids are left out.

    Parameters
    ----------
    rows : Rows
    ids : array of the shape of ``rows.ids``
        The ids as they are in the file.
    known : uint64 array of shape (n_features,)

    Returns
    -------
    rows : Rows
    n_dropped : int
    """
    flat = ids.reshape(-1).astype(np.uint64)
    number = np.searchsorted(known, flat)
    found = known[np.minimum(number, len(known) - 1)] == flat
    n_dropped = int((~found).sum())
    if not n_dropped:
        return replace(rows, ids=number.astype(np.int32).reshape(rows.ids.shape)), 0
    offsets = rows.offsets
    fields = rows.fields
    if offsets is None:
        n_slots = rows.ids.shape[1]
        offsets = np.arange(rows.n_rows + 1, dtype=np.int64) * n_slots
        fields = np.tile(np.arange(n_slots, dtype=np.int32) if fields is None else fields, rows.n_rows)
    before = np.concatenate([[0], np.cumsum(found)])
    return (
        Rows(
            ids=number[found].astype(np.int32),
            offsets=before[offsets].astype(np.int64),
            values=None if rows.values is None else rows.values.reshape(-1)[found],
            fields=None if fields is None else fields[found],
            y=rows.y,
            weight=rows.weight,
        ),
        n_dropped,
    )
