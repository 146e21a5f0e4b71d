"""Figures for Prometheus, and whether a model's p-values are still uniform."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from starlette.types import Scope

from hourglass.core.fitted import FittedModel
from hourglass.core.thresholds import drift

_RECENT, _ENOUGH = 2_000, 200
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What has happened so far."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each figure, which nobody reads
        ProcessCollector(registry=self._registry)
        requests = ("hourglass_requests", "Requests by route and status")
        self._requests = Counter(*requests, ("method", "route", "status"), registry=self._registry)
        latency = ("hourglass_request_seconds", "Time from a request to its answer")
        self._latency = Histogram(*latency, ("route",), registry=self._registry, buckets=_SECONDS)
        self._rows = Counter("hourglass_rows", "Rows scored", ("model", "verb"), registry=self._registry)
        self._waiting = Gauge("hourglass_queue_depth", "Requests that wait", registry=self._registry)
        self._versions = self._gauge("model_info", "1 for the version served", "version")
        self._problems = self._gauge("model_problem", "1 where a newer file could not be loaded")
        self._distance = self._gauge("p_value_distance", "Largest excess of recent p-values over the uniform")
        self._drift = self._gauge("drift", "1 where recent rows are unlike those that set the threshold")
        self._recent: dict[str, tuple[str, deque[float]]] = {}
        """Recent scores of each model's latest version, with that version."""

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"hourglass_{name}", words, ("model", *labels), registry=self._registry)

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Ask for the queue's depth whenever figures are asked for."""
        self._waiting.set_function(depth)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """One request is answered."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
        self._requests.labels(method, route, status).inc()
        self._latency.labels(route).observe(seconds)

    def scored(self, model: str, version: str, verb: str, rows: int, scores: np.ndarray | None) -> None:
        """So many rows went through a model; `scores` are their anomaly scores, where those were asked for."""
        self._rows.labels(model, verb).inc(rows)
        if scores is not None:
            if self._recent.get(model, ("",))[0] != version:
                self._recent[model] = version, deque(maxlen=_RECENT)
            self._recent[model][1].extend(scores[-_RECENT:].tolist())

    def page(self, models: Iterable[tuple[str, str, FittedModel, bool]]) -> bytes:
        """All figures as text. `models`: name, version, model, and whether a newer file of it is bad."""
        for gauge in (self._versions, self._problems, self._distance, self._drift):
            gauge.clear()
        served = list(models)
        self._recent = {name: self._recent[name] for name, *_ in served if name in self._recent}
        for name, version, model, bad in served:
            self._versions.labels(name, version).set(1)
            self._problems.labels(name).set(int(bad))
            seen, recent = self._recent.get(name, (version, ()))
            scores = np.array(recent if seen == version else ())
            self._distance.labels(name).set(distance_from_uniform(model.p_values(scores)))
            told = drift(model.calibration.scores, scores) if len(scores) >= _ENOUGH else ""
            self._drift.labels(name).set(int(bool(told)))
        return generate_latest(self._registry)


def distance_from_uniform(p_values: np.ndarray) -> float:
    """The most by which the share of p-values up to some p exceeds p; 0 where there are none.

    >>> distance_from_uniform(np.array([0.1, 0.1, 0.1, 0.1]))
    0.9
    """
    share = np.arange(1, len(p_values) + 1) / max(len(p_values), 1)
    return float(np.max(share - np.sort(p_values), initial=0.0))
