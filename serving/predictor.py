"""From a valid request to logged predictions: who answers, with what, and what is remembered.

Every row is answered by the variant that its entity belongs to. A version that fails on rows
which the champion before it can score is answered for by that one, so a bad release costs no
client a request; that it failed is counted, and the guard acts on the counts.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from mlops_assets.domain.coded import Coded
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest
from mlops_assets.domain.split import CHAMPION, variant_of
from mlops_assets.stores.packed_rows import PackedRequest
from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter
from serving.answers import Refusal
from serving.loading import LoadedModel
from serving.models import ModelState
from serving.predicted import Predicted
from serving.records import Served, record_of, records_of
from serving.single import SingleRecord
from serving.stats import Stats

logger = logging.getLogger(__name__)

FALLBACK = "fallback"
# Of a request of many rows, the first ones tell whether rows differ.
SEEN = 8


@dataclass(frozen=True, slots=True)
class _Failure:
    """A version that raised `error`, or whose output for `row` is no number."""

    version: str
    error: Exception | None
    row: int = 0


class Predictor:
    """Scores and logs for all models of a process. Safe to share by threads."""

    def __init__(self, log: Path, stats: Stats) -> None:
        self._log = log
        self._stats = stats
        self._writers: dict[str, SegmentWriter] = {}
        self._opening = threading.Lock()
        # The models whose log could not be written the last time.
        self._unwritable: set[str] = set()

    def close(self) -> None:
        """Close the log segments."""
        for writer in self._writers.values():
            writer.close()

    def record(
        self, model: str, state: ModelState, one: SingleRecord, stem: str, started: float
    ) -> Predicted | None:
        """Answer one record by the short way; None where it has to go the long way.

        `stem` is from `id_stem`, and the same for both ways: it may decide on the variant.
        """
        served = state.loaded
        if served is None or served.onnx is None:
            return None
        key = one.entity or one.request_id or stem
        if state.weights and variant_of(key, model, state.weights) != CHAMPION:
            return None
        try:
            scores = served.onnx.score_record(one.numbers, one.categories)
        except Exception:  # noqa: BLE001 - the long way scores it again, reports it and falls back
            return None
        if not isfinite(sum(scores)):
            return None
        seconds = time.perf_counter() - started
        record = record_of(served.version, served.onnx, one, stem, scores, seconds)
        self._write(model, served, record)
        self._count_record(model, served, one, scores, seconds)
        return Predicted(
            served.contract,
            served.version,
            CHAMPION,
            record.request_id,
            stem,
            record.outputs,
        )

    def _count_record(
        self,
        model: str,
        served: LoadedModel,
        one: SingleRecord,
        scores: list[float],
        seconds: float,
    ) -> None:
        counts = self._stats.version(model, served.version)
        names = served.onnx.textual if served.onnx else ()
        with self._stats.lock:
            counts.answered([scores], seconds)
            counts.saw((one.numbers, one.categories))
            for name, text in zip(names, one.categories, strict=True):
                if name in served.known and text not in served.known[name]:
                    counts.unknown_categories[name] = counts.unknown_categories.get(name, 0) + 1

    def rows(
        self, model: str, state: ModelState, request: ParsedRequest, stem: str, started: float
    ) -> Predicted:
        """Answer any request; `stem` is from `id_stem`.

        Raises RequestError for rows that no version has a finite output for, and Refusal where
        no version can be scored, or the log cannot be written.
        """
        assert state.loaded is not None  # noqa: S101 - the caller has checked
        groups = _groups(model, state, request, stem)
        whole = len(groups) == 1
        outputs: list[list[float]] | np.ndarray = [[]] * request.rows
        by_row: list[tuple[str, str]] = [("", "")] * request.rows
        # All rows are scored before any is logged: a request is answered whole or leaves nothing.
        scored = []
        for variant, rows in groups.items():
            part = request if whole else _take(request, rows)
            scored.append((rows, part, self._score(model, state, variant, part)))
        for rows, part, served in scored:
            seconds = time.perf_counter() - started
            record = records_of(served, part, stem, rows, seconds)
            self._write(model, state.loaded, record)
            self._count(model, state, served, part, seconds)
            if whole:
                outputs = served.outputs
                break
            for row, output in zip(rows, served.outputs.tolist(), strict=True):
                outputs[row], by_row[row] = output, (served.version, served.variant)
        return Predicted(
            contract=state.loaded.contract,
            version=served.version if whole else state.loaded.version,
            variant=served.variant if whole else CHAMPION,
            request_id=request.request_id or stem,
            stem=stem,
            outputs=outputs,
            rows=() if whole else by_row,
        )

    def _score(self, model: str, state: ModelState, variant: str, request: ParsedRequest) -> Served:
        """The outputs of the variant's version, or of the first one that can stand in for it."""
        candidates = _candidates(state, variant)
        failed: list[_Failure] = []
        for name, one in candidates:
            try:
                outputs = one.scorer.score(request.columns)
            except Exception as error:  # noqa: BLE001 - whatever a model raises, others may answer
                failed.append(_Failure(one.version, error))
                continue
            is_finite = np.isfinite(outputs)
            if not is_finite.all():
                failed.append(_Failure(one.version, None, int(is_finite.all(axis=1).argmin())))
                continue
            for failure in failed:
                self._failed(model, failure, fell_back=True)
            return Served(one.version, name, outputs)
        return self._refuse(model, failed)

    def _refuse(self, model: str, failed: list[_Failure]) -> Served:
        """No version can score the rows: their own fault where all agree that no number is it."""
        raised = [failure for failure in failed if failure.error is not None]
        for failure in raised:
            self._failed(model, failure, fell_back=False)
        if raised:
            raise Refusal(500, "model", "the model failed on this request; it is reported")
        field = f"records[{failed[0].row}]"
        raise RequestError("the model has no finite output for this record", field)

    def _failed(self, model: str, failure: _Failure, fell_back: bool) -> None:
        version, error = failure.version, failure.error
        counts = self._stats.version(model, version)
        with self._stats.lock:
            is_first = not (counts.exceptions or counts.invalid_outputs)
            counts.requests += 1
            counts.fallbacks += fell_back
            if error is None:
                counts.invalid_outputs += 1
            else:
                counts.exceptions += 1
        if is_first:
            what = f"raises {type(error).__name__}" if error else "gives outputs that are no number"
            logger.error("Model %s: version %s %s.", model, version, what)

    def _count(
        self,
        model: str,
        state: ModelState,
        served: Served,
        request: ParsedRequest,
        seconds: float,
    ) -> None:
        counts = self._stats.version(model, served.version)
        known = state.loaded.known if state.loaded else {}
        with self._stats.lock:
            counts.answered(served.outputs, seconds)
            if counts.is_looking:
                first = (values[:SEEN].tolist() for values in request.columns.values())
                for row in zip(*first, strict=True):
                    counts.saw(row)
            for name, levels in known.items():
                unknown = _unknown(name, levels, request)
                if unknown:
                    before = counts.unknown_categories.get(name, 0)
                    counts.unknown_categories[name] = before + unknown

    def _write(
        self, model: str, champion: LoadedModel, record: LoggedRequest | PackedRequest
    ) -> None:
        try:
            writer = self._writers.get(model) or self._open(model)
            writer.append(record)
            self._unwritable.discard(model)
        except OSError as error:
            # Told once: on a full disk every request would say so.
            if model not in self._unwritable:
                logger.error("The prediction log of %s cannot be written: %s", model, error)
            self._unwritable.add(model)
            if champion.contract.log_away == "refuse":
                raise Refusal(
                    503, "server", "the prediction cannot be logged", retry_after="5"
                ) from error
            counts = self._stats.version(model, record.version)
            with self._stats.lock:
                counts.unlogged += 1

    def _open(self, model: str) -> SegmentWriter:
        with self._opening:
            if model not in self._writers:
                self._writers[model] = SegmentWriter(self._log / model)
            return self._writers[model]


def _candidates(state: ModelState, variant: str) -> list[tuple[str, LoadedModel]]:
    """Who may answer, in order: the variant, then the champion, then the one before it."""
    champion, fallback = state.loaded, state.fallback
    first = state.variants.get(variant, champion)
    found = [(variant, first)]
    if first is not champion:
        found.append((FALLBACK, champion))
    found.append((FALLBACK, fallback))
    return [(name, one) for name, one in found if one is not None]


def _groups(
    model: str, state: ModelState, request: ParsedRequest, stem: str
) -> dict[str, Sequence[int]]:
    """The rows of each variant."""
    if not state.weights:
        return {CHAMPION: range(request.rows)}
    groups: dict[str, list[int]] = {}
    for row, entity in enumerate(request.entities):
        variant = variant_of(entity or request.request_id or stem, model, state.weights)
        groups.setdefault(variant, []).append(row)
    return dict(groups)


def _take(request: ParsedRequest, rows: Sequence[int]) -> ParsedRequest:
    index = np.asarray(rows)
    return ParsedRequest(
        request_id=request.request_id,
        columns={name: values[index] for name, values in request.columns.items()},
        entities=[request.entities[row] for row in rows],
        event_times=[request.event_times[row] for row in rows],
    )


def _unknown(name: str, levels: frozenset[str], request: ParsedRequest) -> int:
    """In how many rows the category has a value that is none of the levels."""
    column = request.columns.get(name)
    if column is None:
        return 0
    if isinstance(column, Coded):
        places = [place for place, value in enumerate(column.values) if value not in levels]
        return int(np.isin(column.codes, places).sum()) if places else 0
    values = column.tolist()
    unknown = set(values) - levels
    return sum(value in unknown for value in values) if unknown else 0
