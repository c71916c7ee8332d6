"""Generated click tables with known effects.

`ad_clicks` has few, readable fields and an effect of known size for every pair of fields, to check explanations.
`criteo_like` has the shape of display advertising logs (13 integer and 26 string columns, long tails, missing values),
to measure speed and memory. The same number of rows and the same seed give the same table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.core.errors import SettingError, got
from anyfm.core.settings import integer

Doubles = NDArray[np.float64]
Column = NDArray[Any] | list[Any]


@dataclass(frozen=True, repr=False)
class Synthetic:
    """A generated table and its effects.

    Parameters
    ----------
    columns : mapping of str to array or list, each of length n_rows
        The table, target column ``click`` included; missing values are None.
    truth : dict
        The effects, ready for JSON.
    logits : float64 array of shape (n_rows,)
        The true logits, that the clicks were drawn from.
    """

    columns: Mapping[str, Column]
    truth: dict[str, Any]
    logits: Doubles

    def __repr__(self) -> str:
        return f"Synthetic({self.truth['kind']}, {self.truth['rows']:,} rows, {len(self.columns)} columns)"


MAIN_STRENGTHS: dict[str, float] = {
    "gender": 0.1,
    "age": 0.3,
    "ad_category": 0.4,
    "ad_size": 0.3,
    "hour": 0.3,
    "device": 0.2,
    "site": 0.4,
    "user": 0.4,
}
"""Standard deviation over rows of each field's own contribution to the logit."""

PAIR_STRENGTHS: dict[tuple[str, str], float] = {
    ("gender", "ad_category"): 1.0,
    ("age", "ad_category"): 0.6,
    ("ad_category", "site"): 0.5,
    ("ad_size", "device"): 0.4,
    ("ad_category", "hour"): 0.3,
    ("hour", "device"): 0.2,
    ("gender", "age"): 0.1,
}
"""Standard deviation over rows of each pair's contribution to the logit; pairs not named contribute nothing."""

_ADS_INTERCEPT = -1.6
_PAIR_RANK = 2
_CATEGORIES = ("beauty", "cars", "fashion", "finance", "food", "games", "garden", "sports", "tools", "travel")
_SIZES = ("120x600", "300x250", "320x50", "728x90", "970x250")


@dataclass(frozen=True)
class _AdField:
    """The values of a field, their fractions of the rows, and whether neighboring values have similar effects."""

    values: NDArray[Any]
    fractions: Doubles
    is_ordered: bool = False


def ad_clicks(n_rows: int, *, seed: int = 0) -> Synthetic:
    """Ad impressions with field-pair effects of known strength.

    Every field is drawn independently. A main effect has mean 0 over rows, and a pair effect has mean 0 over rows for
    every value of either field, so that the logit splits into main and pair effects in one way only (the functional
    analysis of variance), and no part of a pair effect is contained in a main effect.

    Parameters
    ----------
    n_rows : int
        At least 1.
    seed : int
        Draws both the effects (independently of `n_rows`) and the rows.

    Returns
    -------
    Synthetic
        ``truth`` has ``intercept``, ``fields`` and ``pairs`` (every pair of fields, strongest first) with the
        standard deviation over these rows of each contribution to the logit, the ``click_rate``, and
        ``best_logloss``, the logloss of the true probabilities, which a model can beat only by chance.

    Raises
    ------
    SettingError
        `n_rows` or `seed` is not a whole number in its range.
    """
    effects, draws = _generators(n_rows, seed)
    fields = _ad_fields()
    main = {name: _main_effect(field, MAIN_STRENGTHS[name], effects) for name, field in fields.items()}
    pairs = {
        (a, b): _pair_effect(fields[a], fields[b], strength, effects) for (a, b), strength in PAIR_STRENGTHS.items()
    }
    index = {name: draws.choice(len(field.values), size=n_rows, p=field.fractions) for name, field in fields.items()}
    main_logits = {name: effect[index[name]] for name, effect in main.items()}
    pair_logits = {(a, b): effect[index[a], index[b]] for (a, b), effect in pairs.items()}
    logits = np.full(n_rows, _ADS_INTERCEPT) + np.sum([*main_logits.values(), *pair_logits.values()], axis=0)
    strengths = dict.fromkeys(itertools.combinations(fields, 2), 0.0)
    strengths |= {pair: float(np.std(contribution)) for pair, contribution in pair_logits.items()}
    by_strength = sorted(strengths.items(), key=lambda item: -item[1])
    truth = {
        "kind": "ads",
        "rows": n_rows,
        "seed": seed,
        "target": "click",
        "strength": "standard deviation over rows of the contribution to the logit",
        "intercept": _ADS_INTERCEPT,
        "fields": {name: float(np.std(contribution)) for name, contribution in main_logits.items()},
        "pairs": [{"fields": list(pair), "strength": strength} for pair, strength in by_strength],
    }
    columns: dict[str, Column] = {name: field.values[index[name]] for name, field in fields.items()}
    return _with_clicks(columns, truth, logits, draws)


def _ad_fields() -> dict[str, _AdField]:
    ages = np.arange(18, 81)
    hours = np.arange(24)
    return {
        "gender": _AdField(_words(("F", "M")), np.array([0.5, 0.5])),
        "age": _AdField(ages, _normalized(np.exp(-0.5 * ((ages - 38) / 15.0) ** 2)), is_ordered=True),
        "ad_category": _AdField(_words(_CATEGORIES), _zipf_fractions(len(_CATEGORIES), 0.4)),
        "ad_size": _AdField(_words(_SIZES), _zipf_fractions(len(_SIZES), 0.5)),
        "hour": _AdField(hours, _normalized(1.2 - np.cos(2 * np.pi * (hours - 3) / 24)), is_ordered=True),
        "device": _AdField(_words(("phone", "desktop", "tablet")), np.array([0.6, 0.3, 0.1])),
        "site": _AdField(_words([f"site-{i:03d}.example" for i in range(200)]), _zipf_fractions(200, 0.9)),
        "user": _AdField(_words([f"u{i:05d}" for i in range(2000)]), _zipf_fractions(2000, 0.5)),
    }


def _main_effect(field: _AdField, strength: float, rng: np.random.Generator) -> Doubles:
    """One number per value, of mean 0 and standard deviation `strength` over rows."""
    effect = _centered_factors(field, 1, rng)[:, 0]
    return effect * (strength / np.sqrt(field.fractions @ effect**2))


def _pair_effect(first: _AdField, second: _AdField, strength: float, rng: np.random.Generator) -> Doubles:
    """A table (values of first, values of second) whose rows and columns have mean 0, of low rank as in an FM."""
    effect = _centered_factors(first, _PAIR_RANK, rng) @ _centered_factors(second, _PAIR_RANK, rng).T
    return np.asarray(effect * (strength / np.sqrt(first.fractions @ effect**2 @ second.fractions)))


def _centered_factors(field: _AdField, rank: int, rng: np.random.Generator) -> Doubles:
    """Random factors (n_values, rank), smooth along ordered values, with mean 0 over rows."""
    n_values = len(field.values)
    if field.is_ordered:
        waves = np.arange(1, 4)  # one to three periods over the range of the field
        angles = 2 * np.pi * waves * np.arange(n_values)[:, None] / n_values  # (n_values, waves)
        basis = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
        factors = basis @ rng.normal(size=(basis.shape[1], rank))
    else:
        factors = rng.normal(size=(n_values, rank))
    return np.asarray(factors - field.fractions @ factors)


# One entry per string column C1 … C26: how many values there are to draw from.
_CRITEO_SIZES = (
    *(1_500, 600, 6_000_000, 2_000_000, 300, 24, 12_000, 600, 3, 90_000, 5_500, 5_000_000, 3_200),
    *(27, 15_000, 3_000_000, 10, 5_600, 2_100, 4, 4_000_000, 18, 15, 300_000, 100, 150_000),
)
_CRITEO_ZIPF = 0.95
# Fraction of missing values; the other columns are complete.
_CRITEO_MISSING = {"I1": 0.45, "I4": 0.2, "I10": 0.45, "I12": 0.75, "C3": 0.03, "C19": 0.4, "C20": 0.4, "C22": 0.75}
_CRITEO_INTERCEPT = -1.4
_CRITEO_FACTORS = 4
_EFFECT_TABLE = 1 << 16  # rarer values share their effects


def criteo_like(n_rows: int, *, seed: int = 0) -> Synthetic:
    """A table of the shape of display advertising logs, with the signal of a factorization machine of 4 factors.

    Columns ``click``, ``I1`` … ``I13`` (whole numbers with long tails) and ``C1`` … ``C26`` (eight hexadecimal
    digits, Zipf-distributed). Some values are missing. 500,000 rows hold more than a million distinct values.

    Parameters
    ----------
    n_rows : int
        At least 1.
    seed : int
        Draws both the effects (independently of `n_rows`) and the rows.

    Raises
    ------
    SettingError
        `n_rows` or `seed` is not a whole number in its range.
    """
    effects, draws = _generators(n_rows, seed)
    fm = _RandomFM(n_rows, effects)
    columns: dict[str, Column] = {"click": []}  # the first column
    n_distinct = 0

    def add(name: str, values: NDArray[Any], *, ids: NDArray[np.int64], levels: NDArray[np.int64]) -> None:
        """Add a column: its values, one id for each value, and the level of each, which has the effect."""
        nonlocal n_distinct
        missing = draws.random(n_rows) < _CRITEO_MISSING.get(name, 0.0)
        fm.add(levels, missing)
        n_distinct += len(np.unique(ids[~missing]))
        columns[name] = _with_missing(values, missing)

    for number in range(1, 14):
        counts = np.exp(draws.normal(0.6 + 0.35 * (number % 7), 1.0 + 0.1 * (number % 4), n_rows)).astype(np.int64)
        add(f"I{number}", counts, ids=counts, levels=np.log1p(counts).astype(np.int64))
    for number, n_values in enumerate(_CRITEO_SIZES, start=1):
        ranks = _zipf_draw(n_values, n_rows, draws)
        add(f"C{number}", _hexadecimal(ranks, salt=number), ids=ranks, levels=ranks)
    truth = {
        "kind": "criteo",
        "rows": n_rows,
        "seed": seed,
        "target": "click",
        "n_factors": _CRITEO_FACTORS,
        "distinct_values": n_distinct,
        "linear_strength": float(np.std(fm.linear)),
        "pairs_strength": float(np.std(fm.pairs())),
    }
    return _with_clicks(columns, truth, fm.linear + fm.pairs() + _CRITEO_INTERCEPT, draws)


class _RandomFM:
    """Sums the logit of a factorization machine field by field, so that no (rows, fields, factors) array exists."""

    def __init__(self, n_rows: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self.linear = np.zeros(n_rows)
        self._sum = np.zeros((n_rows, _CRITEO_FACTORS), np.float32)
        self._squares = np.zeros(n_rows, np.float32)

    def add(self, values: NDArray[np.int64], missing: NDArray[np.bool_]) -> None:
        """Add one field; `values` are small whole numbers, and missing values have a separate effect."""
        index = np.where(missing, 0, 1 + values % (_EFFECT_TABLE - 1))
        weights = self._rng.normal(0, 0.2, _EFFECT_TABLE)
        factors = self._rng.normal(0, 0.14, (_EFFECT_TABLE, _CRITEO_FACTORS)).astype(np.float32)
        gathered = factors[index]
        self.linear += weights[index]
        self._sum += gathered
        self._squares += np.einsum("rk,rk->r", gathered, gathered)

    def pairs(self) -> Doubles:
        return np.asarray(0.5 * (np.einsum("rk,rk->r", self._sum, self._sum) - self._squares), np.float64)


def _zipf_draw(n_values: int, n_rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ranks 0 … n_values − 1 whose frequency falls as rank^-0.95, by inverting the distribution function."""
    power = 1.0 - _CRITEO_ZIPF
    uniform = rng.random(n_rows)
    ranks = (1.0 + uniform * ((n_values + 1.0) ** power - 1.0)) ** (1.0 / power)
    return np.asarray(np.clip(ranks.astype(np.int64) - 1, 0, n_values - 1))


def _hexadecimal(ranks: NDArray[np.int64], *, salt: int) -> NDArray[np.str_]:
    """Eight hexadecimal digits per rank, distinct for distinct ranks below 2^32, in no visible order."""
    scrambled = (ranks.astype(np.uint64) * np.uint64(2_654_435_761) + np.uint64(salt * 40_503)) & np.uint64(0xFFFFFFFF)
    shifts = np.arange(28, -1, -4, dtype=np.uint64)
    digits = (scrambled[:, None] >> shifts) & np.uint64(15)  # (n_rows, 8)
    letters = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    return np.ascontiguousarray(letters).view("S8")[:, 0].astype("U8")


def _with_missing(values: NDArray[Any], missing: NDArray[np.bool_]) -> Column:
    """The values, or where some are missing a list with None in their place (numpy has no missing integer)."""
    if not missing.any():
        return values
    with_none = values.astype(object)
    with_none[missing] = None
    return list(with_none)


def _generators(n_rows: int, seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """The generators of effects and of rows."""
    for name, value, rule in (("n_rows", n_rows, integer(1)), ("seed", seed, integer(0))):
        if not rule.holds(value):
            raise SettingError(got(f"{name} must be {rule.text}", **{name: value}))
    return np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])


def _with_clicks(
    columns: dict[str, Column], truth: dict[str, Any], logits: Doubles, rng: np.random.Generator
) -> Synthetic:
    click = (rng.random(len(logits)) < 1.0 / (1.0 + np.exp(-logits))).astype(np.int64)
    best_logloss = float(np.mean(np.logaddexp(0.0, logits) - click * logits))
    truth |= {"click_rate": float(click.mean()), "best_logloss": best_logloss}
    return Synthetic({**columns, "click": click}, truth, logits)


def _words(words: Any) -> NDArray[Any]:
    return np.array(words, dtype=object)


def _normalized(weights: Doubles) -> Doubles:
    return np.asarray(weights / weights.sum())


def _zipf_fractions(n_values: int, power: float) -> Doubles:
    return _normalized(np.arange(1, n_values + 1, dtype=np.float64) ** -power)


GENERATORS: dict[str, Callable[..., Synthetic]] = {"ads": ad_clicks, "criteo": criteo_like}
