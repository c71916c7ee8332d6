"""Settings as frozen dataclasses: every setting has a default, a rule and one line of help, declared once.

The command line, the configuration file, `anyfm.train` and the estimators take their options from these classes.
Values are parsed and checked when a settings object is made, so an object that exists is valid.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from anyfm.core.errors import SettingError, got, nearest_name, shown
from anyfm.core.task import MONITORED_METRICS, TASKS

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Rule:
    """What a setting must be: `text` completes "<name> must be …", `holds` decides, `parse` reads it from text.

    `metavar` stands for the value on the command line's help pages; `none` is the text that stands for None.
    """

    text: str
    holds: Callable[[Any], bool]
    parse: Callable[[str], Any]
    metavar: str = "TEXT"
    none: str = "none"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def integer(low: int, high: int | None = None) -> Rule:
    """An integer of at least `low` and, where given, at most `high`."""
    text = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
    return Rule(text, lambda value: _is_int(value) and value >= low and (high is None or value <= high), int, "INTEGER")


def real(low: float, high: float = math.inf, *, above: bool = False) -> Rule:
    """A finite number of at least `low` (more than `low` if `above`) and at most `high`."""
    text = f"a number {'above' if above else 'of at least'} {low:g}"
    if high < math.inf:
        text += f" and at most {high:g}"

    def holds(value: Any) -> bool:
        return _is_real(value) and (value > low if above else value >= low) and value <= high

    return Rule(text, holds, float, "NUMBER")


def choice(*options: str, metavar: str | None = None) -> Rule:
    """One of a few words."""
    return Rule("one of " + ", ".join(options), lambda value: value in options, str, metavar or "|".join(options))


_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def duration() -> Rule:
    """A time in seconds, above 0; in text with a unit: "90s", "5m", "2h"."""

    def parse(text: str) -> float:
        return float(text[:-1]) * _SECONDS[text[-1].lower()] if text[-1:].lower() in _SECONDS else float(text)

    return Rule("a time such as 90s, 5m or 2h", lambda value: _is_real(value) and value > 0, parse, "TIME")


def device_name() -> Rule:
    """A device as torch names them: letters, and perhaps a colon and a number."""

    def holds(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        kind, colon, number = value.partition(":")
        return kind.isascii() and kind.isalpha() and (number.isascii() and number.isdigit() if colon else True)

    return Rule("a device such as cpu, cuda or cuda:1", holds, str, "DEVICE")


def layer_sizes() -> Rule:
    """Sizes of layers, first to last, as a tuple; in text "400,400", and "none" for no layers."""

    def holds(value: Any) -> bool:
        return isinstance(value, tuple) and all(_is_int(size) and 1 <= size <= 65_536 for size in value)

    def parse(text: str) -> tuple[int, ...]:
        return () if text.lower() == "none" else tuple(int(size) for size in text.split(",") if size.strip())

    return Rule('sizes from 1 to 65536 separated by commas, such as "400,400"', holds, parse, "SIZES")


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def flag() -> Rule:
    """True or false."""
    return Rule("true or false", lambda value: isinstance(value, bool), lambda text: _WORDS[text.lower()], "on|off")


def text() -> Rule:
    """Any text that is not empty."""
    return Rule("text", lambda value: isinstance(value, str) and bool(value), str)


def separator() -> Rule:
    """Text between columns; in text "\\t" and "tab" are a tab."""
    return Rule("text", text().holds, lambda given: "\t" if given in ("\\t", "tab") else given)


def texts() -> Rule:
    """A tuple of texts; in text separated by commas."""

    def holds(value: Any) -> bool:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)

    return Rule(
        "names separated by commas", holds, lambda text: tuple(item.strip() for item in text.split(",")), "NAMES"
    )


def anything() -> Rule:
    """Any value; checked where it is used."""
    return Rule("a value", lambda value: True, lambda text: text)


def mapping() -> Rule:
    """A mapping of names to values."""
    return Rule("a mapping of names to values", lambda value: isinstance(value, Mapping), _no_text, "NAME=VALUE")


def class_weights() -> Rule:
    """The word balanced, or a mapping of class to weight; in text "no=1,yes=5"."""

    def holds(value: Any) -> bool:
        if isinstance(value, Mapping):
            return len(value) > 0 and all(_is_real(weight) and weight > 0 for weight in value.values())
        return isinstance(value, str) and value == "balanced"

    def parse(text: str) -> Any:
        if text.lower() == "balanced":
            return "balanced"
        pairs = (part.rpartition("=") for part in text.split(","))
        return {name.strip(): float(weight) for name, _, weight in pairs}

    return Rule("balanced, or a weight above 0 for each class, such as no=1,yes=5", holds, parse, "WEIGHTS")


def _no_text(text: str) -> Any:
    raise ValueError(text)


def optional(rule: Rule) -> Rule:
    """None ("none" in text), or what `rule` says."""
    return _or_none(rule, "none")


def automatic(rule: Rule) -> Rule:
    """None ("auto" in text), for which training chooses the value, or what `rule` says."""
    return _or_none(rule, "auto")


def _or_none(rule: Rule, none: str) -> Rule:
    return Rule(
        f"{none} or {rule.text}",
        lambda value: value is None or rule.holds(value),
        lambda text: None if text.lower() == none else rule.parse(text),
        rule.metavar,
        none,
    )


def fraction() -> Rule:
    """A number of at least 0 and below 1."""
    return Rule("a number of at least 0 and below 1", lambda value: _is_real(value) and 0 <= value < 1, float, "NUMBER")


@dataclass(frozen=True)
class Range:
    """The numbers that tuning searches, on a logarithmic scale or evenly."""

    low: float
    high: float
    log: bool = True


@dataclass(frozen=True)
class Options:
    """The values that tuning searches, as text."""

    texts: tuple[str, ...]


def setting(default: Any, rule: Rule, help: str, *, tune: Range | Options | None = None) -> Any:
    """A dataclass field with its rule, one line of help, and what tuning searches (None: nothing)."""
    return field(default=default, metadata={"rule": rule, "help": help, "tune": tune})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings: every field is made by `setting` and checked here.

    Attributes
    ----------
    group : str
        The heading under which the command line shows these settings.
    """

    group: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            rule: Rule = item.metadata["rule"]
            value = getattr(self, item.name)
            if not rule.holds(value):
                raise SettingError(got(f"{item.name} must be {rule.text}", **{item.name: value}))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the settings, in the order of their declaration."""
        return tuple(item.name for item in dataclasses.fields(cls))

    @classmethod
    def from_mapping(cls: type[S], values: Mapping[str, Any]) -> S:
        """Make settings from values by name; text is parsed, a list becomes a tuple.

        Raises
        ------
        SettingError
            A name is unknown (the text names the nearest known one), or a value breaks its rule.
        """
        made: S = parse_settings(values, cls)[0]
        return made


def parse_settings(
    values: Mapping[str, Any], *kinds: type[Settings], what: str = "setting", also: Iterable[str] = ()
) -> list[Any]:
    """Divide values by name among several classes of settings, and make one object of each.

    Parameters
    ----------
    values : mapping
        Values by name; text is parsed, a list becomes a tuple.
    *kinds : type of Settings
        Of a name that several classes have, the last one gets the value.
    what : str
        What an unknown name is called in the message.
    also : iterable of str
        Further names that may be meant by an unknown one, such as other keywords of a function.

    Raises
    ------
    SettingError
        A name belongs to none of the classes (the text names the nearest known one), or a value breaks its rule.
    """
    known = {item.name: (kind, item.metadata["rule"]) for kind in kinds for item in dataclasses.fields(kind)}
    parts: dict[type[Settings], dict[str, Any]] = {kind: {} for kind in kinds}
    for name, value in values.items():
        if name not in known:
            raise SettingError(unknown_name(name, {*known, *also}, what=what))
        kind, rule = known[name]
        parts[kind][name] = _parsed(name, value, rule)
    return [kind(**parts[kind]) for kind in kinds]


def _parsed(name: str, value: Any, rule: Rule) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str):
        return value
    try:
        return rule.parse(value)
    except (ValueError, KeyError):
        raise SettingError(f"{name} must be {rule.text}, got {name}={shown(value)}") from None


def setting_text(value: Any, rule: Rule) -> str:
    """A value as the rule reads it from text."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return rule.none if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def unknown_name(name: str, known: Iterable[str], *, what: str) -> str:
    """Word that a name is not among the known ones, and suggest the nearest."""
    names = sorted(known)
    near = nearest_name(name, names)
    hint = f"Known are {', '.join(names)}." if near is None else f"Did you mean {near}?"
    return f"{name!r} is not a known {what}. {hint}"


@dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """What the columns of a table, or the labels of a text file, mean."""

    group = "Data"

    target: str | None = setting(None, optional(text()), "the column to predict; required for tables")
    task: str = setting("auto", choice("auto", *TASKS), "what is predicted; auto: binary or regression, by the target")
    positive: Any = setting(None, anything(), "the value of a binary target that is the positive class")
    weight: str | None = setting(None, optional(text()), "the column of row weights")
    fields: Mapping[str, Any] | None = setting(
        None,
        optional(mapping()),
        "kind of a column, where the inferred kind is wrong, such as zip=categorical, or with an option after a colon, "
        "such as day=datetime:dmy, when=datetime:hour,weekday or genres=tags:|; may be repeated",
    )
    min_count: int = setting(2, integer(1), "values that occur less often in training share the unseen feature")
    n_bins: int | None = setting(
        None,
        automatic(integer(2, 65_536)),
        "maximum number of quantile bins of a numeric column; auto: one per 25 rows, from 2 to 32",
    )
    format: str = setting(
        "auto",
        Rule("text", text().holds, str, "FORMAT"),
        "format of the file: csv, tsv, parquet, ipc (Arrow), jsonl, libsvm or libffm; auto: by its suffix",
    )
    header: bool = setting(True, flag(), "whether the first line of a delimited file holds the column names")
    column_names: tuple[str, ...] | None = setting(None, optional(texts()), "column names, separated by commas")
    separator: str | None = setting(
        None, optional(separator()), "what separates columns in a delimited file; \\t for a tab"
    )
    encoding: str = setting("utf-8", text(), "encoding of a delimited file, such as cp1252 or utf-16")
    missing: tuple[str, ...] = setting(
        (), texts(), "words and numbers that count as missing besides the usual ones, separated by commas"
    )


_MIN_CROSS_VALIDATED, CROSS_VALIDATED, N_FOLDS = 20, 2000, 5
"""Tables of so many rows are cross-validated: a tenth of them would choose by chance."""


@dataclass(frozen=True, kw_only=True)
class BudgetSettings(Settings):
    """How long the search for a model or for its settings may take."""

    group = "Training"

    budget: float | None = setting(
        None, automatic(duration()), "time for model=auto or for tuning, such as 90s, 5m or 2h; auto: 5m"
    )


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(Settings):
    """Which rows are held out to choose the best epoch."""

    group = "Validation"

    valid: Any = setting(None, anything(), "a table of validation rows")
    valid_fraction: float | None = setting(
        None,
        automatic(fraction()),
        "fraction of the rows to hold out at random; 0: none, and training runs all epochs; auto: 0.1, or below 2,000 "
        "rows none, and settings and epochs are chosen by cross-validation in five folds",
    )
    valid_by: str | None = setting(
        None, optional(text()), "hold out the last rows in the order of this column, such as a time"
    )
    valid_last_by: tuple[str, ...] | None = setting(
        None,
        optional(texts()),
        "hold out the last row of each group: the columns of the groups and of the order, such as user,timestamp",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("valid", "valid_by", "valid_last_by") if getattr(self, name) is not None]
        if len(given) > 1:
            raise SettingError(f"validation rows come from {given[0]} or from {given[1]}, but both are given")
        if self.valid_last_by is not None and len(self.valid_last_by) != 2:
            rule = "valid_last_by must be two columns, of the groups and of the order, such as user,timestamp"
            raise SettingError(got(rule, valid_last_by=self.valid_last_by))

    @property
    def fraction(self) -> float:
        """The fraction of the rows to hold out where a part is held out."""
        return 0.1 if self.valid_fraction is None else self.valid_fraction

    def n_folds(self, n_rows: int) -> int:
        """In how many folds a table of so many rows is cross-validated; 0: in none."""
        given = (self.valid, self.valid_fraction, self.valid_by, self.valid_last_by)
        is_small = _MIN_CROSS_VALIDATED <= n_rows < CROSS_VALIDATED
        return N_FOLDS if is_small and all(value is None for value in given) else 0

    @property
    def order_column(self) -> str | None:
        """The column that says which rows are the last; None where rows are held out otherwise."""
        return self.valid_by if self.valid_last_by is None else self.valid_last_by[1]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How long training runs, what it monitors, and where it runs.

    The defaults are chosen on validation rows; docs/quality.md shows how.
    """

    group = "Training"

    epochs: int = setting(200, integer(1, 100_000), "maximum number of passes over the training rows")
    search: bool = setting(
        True, flag(), "whether to choose settings that are not set among the model's candidates, on validation rows"
    )
    class_weight: Any = setting(
        None,
        optional(class_weights()),
        "what the weights of rows are multiplied by in training and validation: balanced, in inverse proportion to how "
        "frequent their class is, or a number by class, such as no=1,yes=5",
    )
    clip_predictions: bool = setting(
        True,
        flag(),
        "whether predictions of a regression are clipped to the range of the training targets; logits and explanations "
        "never are",
    )
    uncertainty: bool = setting(
        True,
        flag(),
        "whether to measure the standard deviations of parameters after training, one more pass over the rows: what "
        "predict --std and samples of logits need",
    )
    patience: int = setting(10, integer(1), "stop after this many epochs without a better validation metric")
    monitor: str = setting(
        "loss",
        choice("loss", *MONITORED_METRICS, metavar="METRIC"),
        f"the validation metric that early stopping monitors: {', '.join(MONITORED_METRICS)}; loss: logloss, "
        "rmse or poisson_deviance, by the task",
    )
    seed: int = setting(0, integer(0, 2**63 - 1), "seed of initialization, shuffling and the split")
    n_threads: int = setting(0, integer(0, 1024), "number of threads; 0: one per core of this process")
    engine: str = setting(
        "auto",
        choice("auto", "native", "torch"),
        "what trains the model; auto: native, torch for other devices and batch normalization",
    )
    device: str = setting("cpu", device_name(), "the device torch trains on: cpu, cuda, cuda:1")


AUTO = "auto"
"""The name that stands for the best of all models."""
NOT_RECORDED = ("n_threads", "engine", "device")
"""Training settings that an artifact does not record: they do not change what is computed."""
