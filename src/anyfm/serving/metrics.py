"""Counters and durations in Prometheus' text format, summed over all workers."""

from __future__ import annotations

import os
import struct
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from anyfm import __version__

_ATTEMPTS = 10

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What a worker counts. Where `PROMETHEUS_MULTIPROC_DIR` is set, workers share their numbers through files."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("endpoint", "status")
        self.requests = Counter("anyfm_requests", "Requests answered.", labels, registry=self._registry)
        self.seconds = Histogram(
            "anyfm_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ("endpoint",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.rows = Counter(
            "anyfm_rows", "Rows scored, ranked or explained.", ("endpoint", "model"), registry=self._registry
        )
        self.reloads = Gauge(
            "anyfm_reloads", "Models loaded again.", registry=self._registry, multiprocess_mode="livesum"
        )
        self.failed_reloads = Gauge(
            "anyfm_failed_reloads",
            "Replaced models that could not be loaded.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.models = Gauge(
            "anyfm_model_info",
            "Models that are served; always 1.",
            ("model", "version", "kind", "anyfm_version"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )

    def model(self, name: str, version: str, kind: str) -> None:
        self.models.labels(name, version, kind, __version__).set(1)

    def text(self) -> bytes:
        """All numbers, of all workers."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        for _ in range(_ATTEMPTS - 1):
            try:
                return generate_latest(registry)
            except (ValueError, RuntimeError, struct.error):  # a worker is writing what is read
                time.sleep(0.005)
        return generate_latest(registry)
