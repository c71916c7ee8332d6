"""Pairwise choice of test cases: every two values of two factors meet in at least one case."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations, product


def pairwise(*factors: Sequence[Hashable]) -> list[tuple]:
    """Cases, one value of each factor, in which every pair of values of two different factors occurs.

    Greedy: each case starts from the first pair not covered yet, and takes for every other factor the value that
    covers most of the remaining pairs. The result depends on the arguments alone.
    """
    open_pairs = {  # a dict keeps the order
        ((i, a), (j, b)): None
        for i, j in combinations(range(len(factors)), 2)
        for a, b in product(factors[i], factors[j])
    }
    cases: list[tuple] = []
    uses: dict[tuple, int] = {}
    while open_pairs:
        case = dict(next(iter(open_pairs)))
        for i, factor in enumerate(factors):
            if i not in case:
                case[i] = min(factor, key=lambda value, i=i, case=case: _cost((i, value), case, open_pairs, uses))
        for i, j in combinations(range(len(factors)), 2):
            open_pairs.pop(((i, case[i]), (j, case[j])), None)
        for item in case.items():
            uses[item] = uses.get(item, 0) + 1
        cases.append(tuple(case[i] for i in range(len(factors))))
    return cases


def _cost(item: tuple, case: dict, open_pairs: dict, uses: dict) -> tuple[int, int]:
    covered = sum(tuple(sorted([item, other], key=lambda pair: pair[0])) in open_pairs for other in case.items())
    return -covered, uses.get(item, 0)
