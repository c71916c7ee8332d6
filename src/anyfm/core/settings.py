"""Settings as frozen dataclasses, their rules as data, and one place that words the messages.

A rule is attached to its field (``setting(default, rule)``) and checked when the dataclass is made, so a settings
object that exists is valid.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from anyfm.core.errors import SettingError, got, shown

C = TypeVar("C")


@dataclass(frozen=True)
class Rule:
    """What a setting must be: `text` completes "<name> must be …", `holds` decides, `parse` reads it from text."""

    text: str
    holds: Callable[[Any], bool]
    parse: Callable[[str], Any]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def integer(low: int, high: int | None = None) -> Rule:
    """An integer of at least `low` and, where given, at most `high`."""
    text = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
    return Rule(text, lambda value: _is_int(value) and value >= low and (high is None or value <= high), int)


def real(low: float, high: float = math.inf, *, above: bool = False) -> Rule:
    """A finite number of at least `low` (more than `low` if `above`) and at most `high`."""
    text = f"a number {'above' if above else 'of at least'} {low:g}"
    if high < math.inf:
        text += f" and at most {high:g}"

    def holds(value: Any) -> bool:
        return _is_real(value) and (value > low if above else value >= low) and value <= high

    return Rule(text, holds, float)


def choice(*options: str) -> Rule:
    """One of a few words."""
    return Rule("one of " + ", ".join(options), lambda value: value in options, str)


def device_name() -> Rule:
    """A device as torch names them: letters, and perhaps a colon and a number."""

    def holds(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        kind, colon, number = value.partition(":")
        return kind.isascii() and kind.isalpha() and (number.isascii() and number.isdigit() if colon else True)

    return Rule("a device such as cpu, cuda or cuda:1", holds, str)


def sizes() -> Rule:
    """Text of positive integers with commas between them, such as "400,400", or empty text."""

    def holds(value: Any) -> bool:
        return isinstance(value, str) and (not value or all(_is_size(part) for part in value.split(",")))

    return Rule('sizes with commas between them, such as "400,400"', holds, lambda text: text.replace(" ", ""))


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65_536


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def flag() -> Rule:
    """True or false."""
    return Rule("true or false", lambda value: isinstance(value, bool), lambda text: _WORDS[text.lower()])


def optional(rule: Rule) -> Rule:
    """None ("none" in text), or what `rule` says."""
    return Rule(
        f"none or {rule.text}",
        lambda value: value is None or rule.holds(value),
        lambda text: None if text.lower() == "none" else rule.parse(text),
    )


def setting(default: Any, rule: Rule, help: str) -> Any:
    """A dataclass field with its rule and one line of help."""
    return field(default=default, metadata={"rule": rule, "help": help})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings: every field is made by `setting` and checked here."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            rule: Rule = item.metadata["rule"]
            value = getattr(self, item.name)
            if not rule.holds(value):
                raise SettingError(got(f"{item.name} must be {rule.text}", **{item.name: value}))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def from_mapping(kind: type[C], values: Mapping[str, Any]) -> C:
    """Make settings of `kind` from a mapping, refusing names it does not have."""
    known = setting_names(kind)
    for name in values:
        if name not in known:
            raise SettingError(got(f"a setting must be one of {', '.join(sorted(known))}", setting=name))
    return kind(**values)


def setting_names(kind: type) -> set[str]:
    """The names of the settings that `kind` holds."""
    return {item.name for item in dataclasses.fields(kind)}


def parse_setting(kind: type, name: str, text: str) -> Any:
    """Read one setting of `kind` from text, as given to ``--set name=text``."""
    for item in dataclasses.fields(kind):
        if item.name == name:
            rule: Rule = item.metadata["rule"]
            try:
                return rule.parse(text)
            except (ValueError, KeyError):
                raise SettingError(f"{name} must be {rule.text}, got {name}={shown(text)}") from None
    raise SettingError(got(f"a setting must be one of {', '.join(sorted(setting_names(kind)))}", setting=name))


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """When training stops and what it watches.

    The defaults were chosen on validation rows; docs/quality.md shows how.
    """

    n_epochs: int = setting(50, integer(1, 100_000), "at most this many passes over the training rows")
    patience: int = setting(5, integer(1), "stop after this many epochs without a better validation score")
    monitor: str = setting("loss", choice("loss", "auc"), "the validation score that early stopping watches")
    seed: int = setting(0, integer(0, 2**63 - 1), "seed of initialisation and shuffling")
    n_threads: int = setting(0, integer(0, 1024), "threads; 0 means all cores of this process")
    engine: str = setting(
        "auto",
        choice("auto", "native", "torch"),
        "who trains; auto: native, torch for other devices and batch norm",
    )
    device: str = setting("cpu", device_name(), "where torch trains: cpu, cuda, or cuda:1 and so on")


RECORDED_NOT = ("n_threads", "engine", "device")
"""Training settings that an artifact does not record: who computed it, not what."""
