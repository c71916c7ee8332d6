"""The pairwise choice covers every pair, with few cases."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from .pairwise import pairwise


@pytest.mark.parametrize(
    ("factors", "most"),
    [
        ([list("abcdefgh"), range(5), (True, False)], 44),
        ([range(30), range(6), (0, 1), (True, False), (1, 2, 3, 8, 16)], 200),
        ([range(3)] * 4, 16),  # 9 is the least
        ([range(4), range(2)], 8),
        ([range(3), "x"], 3),
    ],
)
def test_every_pair_is_covered_by_few_cases(factors: list, most: int) -> None:
    cases = pairwise(*factors)
    for i, j in combinations(range(len(factors)), 2):
        assert {(case[i], case[j]) for case in cases} == set(product(factors[i], factors[j]))
    assert all(value in factor for case in cases for value, factor in zip(case, factors, strict=True))
    assert len(cases) <= most
    assert len(set(cases)) == len(cases)
    assert cases == pairwise(*factors)
