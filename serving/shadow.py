"""A version that scores a copy of the traffic, from the prediction log.

Every answered request is in the log with its inputs before its answer leaves, so a shadow needs
nothing from the processes that answer: it follows their segments, scores what is new in batches,
and logs it as `shadow` in segments of its own. It runs in a process of its own at low priority
(`serving.shadowing`), so what it costs, it takes from what the machine has to spare. Where that is
not enough it falls behind, and beyond a limit leaves requests out, which is counted.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.domain.contract import Contract
from mlops_assets.stores.bundles import CONTRACT, Columns
from mlops_assets.stores.log_tail import LogTail
from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter, node_name
from serving.loading import LoadedModel, load
from serving.models import DIRECT, RETRY_SECONDS, fits
from serving.pointer import Target, read_pointer
from serving.stats import Stats

logger = logging.getLogger(__name__)

SHADOW = "shadow"
# How far a segment may be ahead: about a minute of a busy replica's single records.
MOST_BEHIND = 64 * 1024 * 1024
MAX_TOGETHER = 1_000


@dataclass(frozen=True)
class _Followed:
    """A version that scores what a tail of the log brings."""

    version: LoadedModel
    tail: LogTail


class Shadow:
    """Scores the traffic of every model that has a shadow in the pointer file."""

    def __init__(self, pointer: Path, log: Path, stats: Stats) -> None:
        self._pointer = pointer
        self._log = log
        self._stats = stats
        self._writers: dict[str, SegmentWriter] = {}
        self._followed: dict[str, _Followed] = {}
        self._seen: tuple[int, ...] = ()
        self._retry_at = 0.0

    def step(self) -> int:
        """Score what was answered since the last step; returns how many rows."""
        self._follow()
        return sum(self._advance(model, one) for model, one in self._followed.items())

    def close(self) -> None:
        """Close the log segments."""
        for writer in self._writers.values():
            writer.close()

    def _follow(self) -> None:
        """Have the versions that the pointer file asks for; traffic counts from then on."""
        stat = self._pointer.stat()
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        is_due = self._retry_at and time.monotonic() >= self._retry_at
        if seen == self._seen and not is_due:
            return
        wanted = {model: one for model, one in read_pointer(self._pointer).items() if one.shadow}
        self._retry_at = 0.0
        self._followed = {
            model: found
            for model, target in wanted.items()
            if (found := self._have(model, target)) is not None
        }
        self._seen = seen

    def _have(self, model: str, target: Target) -> _Followed | None:
        bundle, known = target.shadow, self._followed.get(model)
        assert bundle is not None  # noqa: S101 - only such targets are wanted
        try:
            same = known and (known.version.version, known.version.path) == (
                bundle.version,
                bundle.path,
            )
            version = known.version if known and same else load(bundle)
            champion = Contract.from_json((Path(target.path) / CONTRACT).read_bytes())
        except Exception as error:  # noqa: BLE001 - whatever a bundle holds, others must be scored
            logger.error("Model %s: no shadow by version %s: %s", model, bundle.version, error)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return None
        if not fits(version.contract, champion):
            # The replicas' /health says so.
            return None
        return known if known and same else _Followed(version, LogTail(self._log / model))

    def _advance(self, model: str, one: _Followed) -> int:
        left_out = one.tail.leave_out(MOST_BEHIND)
        if left_out:
            self._stats.shadow_dropped(model, left_out)
        rows = 0
        answered = [record for record in one.tail.read() if record.variant != DIRECT]
        for batch in _batches(answered):
            rows += self._score(model, one.version, batch)
        return rows

    def _score(self, model: str, version: LoadedModel, batch: Sequence[LoggedRequest]) -> int:
        rows = sum(len(answered.ids) for answered in batch)
        counts = self._stats.version(model, version.version)
        try:
            outputs = version.scorer.score(_columns(version.contract, batch))
        except Exception:  # whatever it raises is counted, and the guard judges
            if len(batch) > 1:
                # One request's rows must not fail those of the others.
                return sum(self._score(model, version, [one]) for one in batch)
            with self._stats.lock:
                is_first = not counts.exceptions
                counts.exceptions += 1
            if is_first:
                logger.exception("Model %s: shadow version %s failed.", model, version.version)
            return rows
        is_finite = np.isfinite(outputs).all(axis=1)
        self._log_all(model, version.version, batch, outputs, is_finite)
        with self._stats.lock:
            counts.shadow_rows += rows
            counts.invalid_outputs += rows - int(is_finite.sum())
        return rows

    def _log_all(
        self,
        model: str,
        version: str,
        batch: Sequence[LoggedRequest],
        outputs: np.ndarray,
        is_finite: np.ndarray,
    ) -> None:
        """Log the requests whose outputs are all numbers; a full disk drops them."""
        is_whole = bool(is_finite.all())
        values = outputs.tolist()
        records, first = [], 0
        for answered in batch:
            last = first + len(answered.ids)
            if is_whole or is_finite[first:last].all():
                scored = values[first:last]
                records.append(replace(answered, version=version, variant=SHADOW, outputs=scored))
            first = last
        try:
            self._writer(model).append_all(records)
        except OSError as error:
            logger.error("The shadow's predictions of %s cannot be logged: %s", model, error)
            self._stats.shadow_dropped(model, len(records))

    def _writer(self, model: str) -> SegmentWriter:
        if model not in self._writers:
            # Not as one of those that it follows.
            self._writers[model] = SegmentWriter(
                self._log / model, writer=f"{node_name()}.{SHADOW}"
            )
        return self._writers[model]


def _batches(answered: Sequence[LoggedRequest]) -> Iterator[list[LoggedRequest]]:
    """Requests to be scored in one call: some thousand rows at most, unless one has more."""
    batch: list[LoggedRequest] = []
    rows = 0
    for one in answered:
        if batch and rows + len(one.ids) > MAX_TOGETHER:
            yield batch
            batch, rows = [], 0
        batch.append(one)
        rows += len(one.ids)
    if batch:
        yield batch


def _columns(contract: Contract, batch: Sequence[LoggedRequest]) -> Columns:
    """The logged inputs of all requests, as a Scorer takes them."""
    columns: dict[str, np.ndarray] = {}
    features: list[Mapping[str, list[Any]]] = [answered.features for answered in batch]
    for column in contract.columns:
        values = [value for one in features for value in one[column.name]]
        if column.type == "category":
            columns[column.name] = np.array(values, dtype=object)
        else:
            columns[column.name] = np.array(values, dtype=np.float64)
    return columns
