"""Speed of training beside the peers that are installed: ours, theirs, ours, theirs, with the loss reached.

    python -m benchmarks.run [--problem NAME] [--threads 1 2] [--pairs 3]

Peers are found through XLEARN_TRAIN and FFM_TRAIN (paths to their programs) or on the path, torchfm and deepctr-torch
through PEERS_PYTHON (a Python where they are installed); without them ours is
timed alone. Run it on a quiet machine. Rates are rows per second of training alone, medians over all epochs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.adapters import ADAPTERS
from benchmarks.problems import PROBLEMS, Problem


def compare(problem: Problem, peer: str | None, *, n_threads: int, n_pairs: int) -> None:
    """Print one line: both rates, the median of the pairwise ratios, both losses."""
    ours, theirs = ADAPTERS["anyfm"], ADAPTERS[peer] if peer else None
    rates: list[float] = []
    peer_rates: list[float] = []
    losses: list[float | None] = []
    for pair in range(n_pairs):
        for adapter, found in ((ours, rates), (theirs, peer_rates)):
            if adapter:
                result = adapter.run(problem, n_threads=n_threads, validate=pair == 0)
                found.append(problem.n_rows / median(result.seconds))
                losses += [result.valid_logloss] if pair == 0 else []
    line = f"{problem.name:14s} {n_threads} threads  anyfm {median(rates):>11,.0f} rows/s  logloss {losses[0]:.5f}"
    if theirs:
        ratios = sorted(mine / other for mine, other in zip(rates, peer_rates, strict=True))
        line += f"  |  {peer} {median(peer_rates):>11,.0f} rows/s  logloss {losses[1]:.5f}"
        line += f"  |  ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=list(PROBLEMS), nargs="*", default=list(PROBLEMS))
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    for problem in (PROBLEMS[name] for name in arguments.problem):
        problem.paths()
        peers = [name for name, adapter in ADAPTERS.items() if name != "anyfm" and adapter.available(problem)]
        for n_threads in arguments.threads:
            for peer in peers or [None]:
                compare(problem, peer, n_threads=n_threads, n_pairs=arguments.pairs)


if __name__ == "__main__":
    main()
