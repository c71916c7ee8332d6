"""A slow, obvious reader of libsvm and libffm text, written from the grammar in anyfm/data/text/reader.py.

It is the specification of the native parser: same rows, same counts, same first fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
LARGEST_ID = 2**31 - 2
TOO_LARGE = Fraction(2**128 - 2**103)  # half way from the largest float32 to the next power of two


class Fault(Exception):  # noqa: N818 - what the parser reports, not an error of this code
    def __init__(self, part: str, line: int, column: int, found: bytes) -> None:
        super().__init__(part, line, column, found)
        self.where = (part, line, column, found)


@dataclass
class Parsed:
    """Rows as lists: per row the label and its (field, id, value) entries; field is 0 for libsvm."""

    labels: list[np.float32] = field(default_factory=list)
    rows: list[list[tuple[int, int, np.float32]]] = field(default_factory=list)
    n_blank_lines: int = 0
    n_dropped: int = 0
    max_id: int = -1
    max_field: int = -1

    @property
    def n_shared_ids(self) -> int:
        fields_of: dict[int, set[int]] = {}
        for row in self.rows:
            for entry_field, entry_id, _ in row:
                fields_of.setdefault(entry_id, set()).add(entry_field)
        return sum(len(fields) > 1 for fields in fields_of.values())


def nearest_float32(text: bytes) -> np.float32 | None:
    """The float32 nearest to a decimal number, ties to even; None if it is too large."""
    double = float(text)
    if np.isinf(double):
        return None
    negative = text.startswith(b"-")
    if double == 0:
        return np.float32(-0.0 if negative else 0.0)
    exact = abs(Fraction(text.decode()))
    if exact >= TOO_LARGE:
        return None
    largest = np.finfo(np.float32).max
    guess = np.float32(min(abs(double), float(largest)))
    candidates = [guess, np.nextafter(guess, np.float32(0)), np.nextafter(guess, largest)]
    best = min(candidates, key=lambda number: (abs(Fraction(float(number)) - exact), int(number.view(np.uint32)) & 1))
    return -best if negative else best


def parse(
    text: bytes,
    *,
    fields: bool,
    binary: bool = False,
    drop_unseen: bool = False,
    max_id: int = LARGEST_ID,
    max_field: int = LARGEST_ID,
) -> Parsed:
    """Parse the text of one file, without a byte order mark. Raises Fault where the grammar is first broken."""
    parsed = Parsed()
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        _parse_line(line, number, parsed, fields, binary, drop_unseen, max_id, max_field)
    return parsed


def _parse_line(line, number, parsed, fields, binary, drop_unseen, max_id, max_field) -> None:
    whole = line = line.removesuffix(b"\r")
    if not fields:
        line = line.split(b"#", 1)[0]
        if whole != line:
            line = line.rstrip(b" \t")

    def fault(part: str, at: int) -> Fault:
        found = re.match(rb"[^ \t]*", whole[at : at + 200])
        assert found
        characters = len([byte for byte in whole[:at] if byte & 0xC0 != 0x80])
        return Fault(part, number, characters + 1, found[0])

    tokens = [(match.start(), match[0]) for match in re.finditer(rb"[^ \t]+", line)]
    if not tokens:
        parsed.n_blank_lines += 1
        return
    (at, token), *entries = tokens
    label = nearest_float32(token) if NUMBER.fullmatch(token) else None
    if label is None or (binary and label not in (0, 1, -1)):
        raise fault("label", at)
    row = []
    for at, token in entries:
        entry_field = 0
        if fields:
            entry_field, length = _integer(token, LARGEST_ID if drop_unseen else max_field, fault, "field", at)
            at, token = at + length, token[length:]
        entry_id, length = _integer(token, LARGEST_ID if drop_unseen else max_id, fault, "id", at)
        at, token = at + length, token[length:]
        value = nearest_float32(token) if NUMBER.fullmatch(token) else None
        if value is None:
            raise fault("value", at)
        if drop_unseen and (entry_id > max_id or (fields and entry_field > max_field)):
            parsed.n_dropped += 1
            continue
        row.append((entry_field, entry_id, value))
        parsed.max_id = max(parsed.max_id, entry_id)
        if fields:
            parsed.max_field = max(parsed.max_field, entry_field)
    parsed.labels.append(label)
    parsed.rows.append(row)


def _integer(token: bytes, limit: int, fault, part: str, at: int) -> tuple[int, int]:
    match = re.match(rb"([0-9]+):", token)
    if not match or int(match[1]) > limit:
        raise fault(part, at)
    return int(match[1]), len(match[0])
