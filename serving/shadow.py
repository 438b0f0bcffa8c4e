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
from serving.answers import Refusal
from serving.loading import LoadedModel
from serving.stats import Stats

logger = logging.getLogger(__name__)

SHADOW = "shadow"
# Rows that wait; what comes while the queue is full is counted and left out.
MAX_WAITING = 20_000
# Together they are scored at a fraction of the cost of one after another.
PAUSE_SECONDS = 0.02
MAX_TOGETHER = 1_000

Write = Callable[[str, LoggedRequest], None]


class Shadow:
    """Scores what it is offered in a thread of its own, and logs it as `shadow`."""

    def __init__(self, write: Write, stats: Stats) -> None:
        self._write = write
        self._stats = stats
        self._waiting: deque[tuple[str, LoadedModel, LoggedRequest]] = deque()
        self._rows = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def offer(self, model: str, version: LoadedModel, answered: LoggedRequest) -> None:
        """Take a copy of an answered request; never waits for the shadow's work."""
        with self._lock:
            is_full = self._rows >= MAX_WAITING
            if not is_full:
                self._waiting.append((model, version, answered))
                self._rows += len(answered.ids)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()
        if is_full:
            self._stats.shadow_dropped(model, len(answered.ids))

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
        model, version, batch = self._take()
        try:
            self._score(model, version, batch)
        except Refusal:
            # The disk is full, which is not the version's fault; _write has told the log.
            self._stats.shadow_dropped(model, sum(len(answered.ids) for answered in batch))
        except Exception:
            logger.exception("Model %s: version %s failed as a shadow.", model, version.version)
            counts = self._stats.version(model, version.version)
            with self._stats.lock:
                counts.exceptions += len(batch)

    def _take(self) -> tuple[str, LoadedModel, list[LoggedRequest]]:
        """The first request that waits, and those behind it that the same version scores."""
        with self._lock:
            model, version, first = self._waiting.popleft()
            batch, rows = [first], len(first.ids)
            while self._waiting and rows < MAX_TOGETHER:
                if self._waiting[0][0] != model or self._waiting[0][1] is not version:
                    break
                batch.append(self._waiting.popleft()[2])
                rows += len(batch[-1].ids)
            self._rows -= rows
        return model, version, batch

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
