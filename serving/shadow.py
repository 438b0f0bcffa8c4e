"""A version that scores copies of the traffic, off the way of every answer."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mlops_assets.domain.contract import Contract
from mlops_assets.stores.bundles import Columns
from mlops_assets.stores.prediction_log import LoggedRequest
from serving.loading import LoadedModel
from serving.stats import Stats

logger = logging.getLogger(__name__)

SHADOW = "shadow"
# Requests that wait; what comes while the queue is full is counted and left out.
MAX_WAITING = 10_000
# Together they are scored at a fraction of the cost of one after another.
PAUSE_SECONDS = 0.02
MAX_TOGETHER = 256

Write = Callable[[str, LoggedRequest], None]


class Shadow:
    """Scores what it is offered in a thread of its own, and logs it as `shadow`."""

    def __init__(self, write: Write, stats: Stats) -> None:
        self._write = write
        self._stats = stats
        self._waiting: deque[tuple[str, LoadedModel, LoggedRequest]] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def offer(self, model: str, version: LoadedModel, answered: LoggedRequest) -> None:
        """Take a copy of an answered request; never blocks."""
        if len(self._waiting) >= MAX_WAITING:
            self._stats.shadow_dropped(model, len(answered.ids))
            return
        self._waiting.append((model, version, answered))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Score what waits, and end."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            is_last = self._stopping.wait(PAUSE_SECONDS)
            while self._waiting:
                self._score_some()
            if is_last:
                return

    def _score_some(self) -> None:
        model, version, first = self._waiting.popleft()
        batch = [first]
        while (
            self._waiting and len(batch) < MAX_TOGETHER and self._waiting[0][:2] == (model, version)
        ):
            batch.append(self._waiting.popleft()[2])
        try:
            self._score(model, version, batch)
        except Exception:
            logger.exception("Model %s: version %s failed as a shadow.", model, version.version)
            counts = self._stats.version(model, version.version)
            with self._stats.lock:
                counts.exceptions += len(batch)

    def _score(self, model: str, version: LoadedModel, batch: list[LoggedRequest]) -> None:
        outputs = version.scorer.score(_columns(version.contract, batch))
        first = 0
        for answered in batch:
            rows = outputs[first : first + len(answered.ids)]
            first += len(answered.ids)
            if np.isfinite(rows).all():
                self._write(
                    model,
                    replace(
                        answered, version=version.version, variant=SHADOW, outputs=rows.tolist()
                    ),
                )
        counts = self._stats.version(model, version.version)
        with self._stats.lock:
            counts.shadow_rows += len(outputs)
            counts.invalid_outputs += int((~np.isfinite(outputs).all(axis=1)).sum())


def _columns(contract: Contract, batch: list[LoggedRequest]) -> Columns:
    """The logged inputs of all requests, as a Scorer takes them."""
    columns: dict[str, np.ndarray] = {}
    for column in contract.columns:
        values: list[Any] = [v for answered in batch for v in answered.features[column.name]]
        if column.type == "category":
            columns[column.name] = np.array(values, dtype=object)
        else:
            columns[column.name] = np.array(values, dtype=np.float64)
    return columns
