"""Fuzzes the parser of text files against its specification.

Run it from the top of the repository: ``python -m tests.fuzz.fuzz_text --seconds 600``. It ends with status 1 at the
first disagreement and prints what to put into a test.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from .text_compare import attempt, disagreement


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="the default differs from run to run")
    arguments = parser.parse_args()
    seed = time.time_ns() if arguments.seed is None else arguments.seed
    rng = random.Random(seed)
    stop = time.monotonic() + arguments.seconds
    n = 0
    while time.monotonic() < stop:
        text, cuts, options = attempt(rng)
        n += 1
        difference = disagreement(text, cuts, **options)
        if difference:
            print(f"seed {seed}, attempt {n}: {difference}\ntext = {text!r}\ncuts = {cuts}\noptions = {options}")
            return 1
    print(f"seed {seed}: {n} attempts, no disagreement")
    return 0


if __name__ == "__main__":
    sys.exit(main())
