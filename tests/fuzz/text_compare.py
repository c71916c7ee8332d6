"""Compares the native parser of text files with its specification, and generates text for it."""

from __future__ import annotations

import random

import numpy as np

from anyfm.core.native import kernels

from .text_specification import LARGEST_ID, Fault, Parsed, parse

NUMBERS = [
    *("1", "0", "0.5", "-1", "+1", "1.", ".5", "-.5", "-0", "00012", "1e3", "1E-3", "1e+2", "0.1", "1e22", "1e23"),
    *("16777217", "16777219", "0.30000001192092896", "1.00000005960464477539", "9007199254740993", "0e999"),
    *("3.4028235e38", "3.4028236e38", "1e39", "1e400", "-1e400", "7.0064923e-46", "1e-46", "1e-400", "5e-324"),
    *("1e99999999999999999999", "123456789012345678901234567890", "0.000000000000000000000000000000000000001234567"),
]
INTEGERS = [
    *("0", "1", "2", "7", "007", "12", "123", "1234567", "12345678"),
    *("2147483646", "2147483647", "2147483648", "4294967296", "99999999999999999999"),
]
SNIPPETS = [
    *(" ", "\t", "\n", "\r\n", "\r", ":", "::", "-", "+", "e", ".", "#", "# note", "nan", "inf", "-inf", "0x10", "1_0"),
    *(
        "\0",
        "\x0b",
        "\x0c",
        "é",
        "\u00a0",
        "\ud7ff",
        "1:",
        ":1",
        "1:1",
        "1:1:1",
        "qid:3",
        ",",
        '"',
        " 3:4:5",
        "1e",
        "--1",
    ),
]


def native(text: bytes, cuts: list[int], *, n_threads: int = 1, piece_bytes: int = 1 << 18, **options):
    """The result of the native parser for `text` in blocks cut at `cuts`: a dict, or the fault as a tuple."""
    parser = kernels.TextParser.make(
        **{"binary": False, "drop_unseen": False, "max_id": LARGEST_ID, "max_field": LARGEST_ID, **options},
        n_threads=n_threads,
        piece_bytes=piece_bytes,
    )
    for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
        # A separate copy, so that a sanitizer detects any read past its end.
        fault = parser.feed(np.frombuffer(bytearray(text[start:stop]), np.uint8))
        if fault:
            return fault
    return parser.end_file() or parser.finish()


def disagreement(text: bytes, cuts: list[int], *, n_threads: int = 1, piece_bytes: int = 1 << 18, **options) -> str:
    """How native parser and specification differ on `text`; empty if they agree."""
    result = native(text, cuts, n_threads=n_threads, piece_bytes=piece_bytes, **options)
    try:
        expected = parse(text, **options)
    except Fault as fault:
        found = result if isinstance(result, tuple) else "no fault"
        return "" if found == fault.where else f"expected {fault.where}, got {found}"
    if isinstance(result, tuple):
        return f"expected no fault, got {result}"
    return _difference(expected, result, fields=options["fields"])


def _difference(expected: Parsed, result: dict, *, fields: bool) -> str:
    entries = [entry for row in expected.rows for entry in row]
    sizes = [len(row) for row in expected.rows]
    wanted = {
        "y": np.array(expected.labels, np.float32).view(np.uint32).tolist(),
        "offsets": np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))]).tolist(),
        "ids": [entry[1] for entry in entries],
        "fields": [entry[0] for entry in entries] if fields else None,
        "values": np.array([entry[2] for entry in entries], np.float32).view(np.uint32).tolist(),
        "n_blank_lines": expected.n_blank_lines,
        "n_dropped": expected.n_dropped,
        "max_id": expected.max_id,
        "max_field": expected.max_field,
        "n_shared_ids": expected.n_shared_ids if fields else 0,
        "fixed": len({tuple(entry[0] for entry in row) for row in expected.rows}) <= 1,
        "all_ones": all(entry[2] == 1 for entry in entries),
    }
    values = result["values"] if result["values"] is not None else np.ones(len(result["ids"]), np.float32)
    found_fields = result["fields"]
    if fields and found_fields is None:
        found_fields = np.array(result["pattern"] * len(result["y"]), np.int32)
    found = {
        "y": result["y"].view(np.uint32).tolist(),
        "offsets": result["offsets"].tolist(),
        "ids": result["ids"].tolist(),
        "fields": None if found_fields is None else found_fields.tolist(),
        "values": values.view(np.uint32).tolist(),
        **{name: result[name] for name in ("n_blank_lines", "n_dropped", "max_id", "max_field", "n_shared_ids")},
        "fixed": result["n_slots"] is not None,
        "all_ones": result["values"] is None,
    }
    return "; ".join(
        f"{name}: expected {wanted[name]}, got {found[name]}" for name in wanted if wanted[name] != found[name]
    )


def valid_text(rng: random.Random, *, fields: bool, max_rows: int = 8) -> bytes:
    """A legal file that uses all that the grammar allows."""
    lines = []
    fixed = rng.random() < 0.3
    n_fixed = rng.randrange(5)
    for _ in range(rng.randrange(max_rows)):
        if rng.random() < 0.1:
            lines.append(rng.choice(["", " ", "\t "]) + ("" if fields else rng.choice(["", "# a: b"])))
            continue
        parts = [rng.choice(["0", "1", "-1", "+1", "3.25"])]
        for s in range(n_fixed if fixed else rng.choice([0, 1, 3, 6])):
            field = f"{s if fixed else rng.randrange(6)}:" if fields else ""
            value = rng.choice(
                ["1", "1", "1.0", "0.5", "0", f"{rng.gauss(0, 10):.{rng.randrange(9)}f}", f"{rng.random()}"]
            )
            parts.append(f"{field}{rng.choice([rng.randrange(20), rng.randrange(10**9)])}:{value}")
        blank = rng.choice([" ", " ", "\t", "  "])
        lines.append(
            blank.join(parts) + rng.choice(["", "", " ", "\t"]) + ("" if fields else rng.choice(["", "", " #x"]))
        )
    newline = rng.choice(["\n", "\n", "\r\n"])
    return (newline.join(lines) + rng.choice([newline, ""])).encode()


def mutated(rng: random.Random, text: bytes) -> bytes:
    """`text` with a few small errors."""
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        at = rng.randrange(len(text) + 1)
        stop = min(len(text), at + rng.choice([0, 0, 1, 2, 5]))
        kind = rng.randrange(5)
        new = (
            rng.choice(SNIPPETS).encode("utf-8", "surrogatepass")
            if kind < 2
            else rng.choice(NUMBERS + INTEGERS).encode()
            if kind == 2
            else bytes([rng.randrange(256)])
            if kind == 3
            else text[stop : stop + rng.randrange(12)]
        )
        text = text[:at] + new + text[stop:]
    return text


def attempt(rng: random.Random) -> tuple[bytes, list[int], dict]:
    """One generated case: text, cuts and options."""
    fields = rng.random() < 0.5
    text = mutated(rng, valid_text(rng, fields=fields))
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.choice([0, 0, 1, 3])))
    options = {
        "fields": fields,
        "binary": rng.random() < 0.2,
        "drop_unseen": rng.random() < 0.3,
        "max_id": rng.choice([LARGEST_ID, LARGEST_ID, 10, 0, -1]),
        "max_field": rng.choice([LARGEST_ID, LARGEST_ID, 3]),
        "n_threads": rng.choice([1, 1, 1, 3]),
        "piece_bytes": rng.choice([1, 16, 1 << 18]),
    }
    return text, cuts, options
