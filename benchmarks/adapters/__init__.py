"""One file per system: how to start it, and how to read seconds and losses from what it prints."""

from __future__ import annotations

from benchmarks.adapters import anyfm_, libffm, torch_peers, xlearn
from benchmarks.adapters.base import Adapter, Result

ADAPTERS: dict[str, Adapter] = {
    "anyfm": anyfm_.Anyfm(),
    "xlearn": xlearn.XLearn(),
    "libffm": libffm.LibFFM(),
    "torchfm": torch_peers.TorchPeer("torchfm"),
    "deepctr-torch": torch_peers.TorchPeer("deepctr-torch"),
}

__all__ = ["ADAPTERS", "Adapter", "Result"]
