"""Scoring what waits together: for models whose fixed cost per call is high.

A scikit-learn pipeline takes about as long for one row as for a hundred. Who comes while nobody
is scoring scores at once; who comes meanwhile is scored together with all others who came, by the
first of them. Nobody waits for company.
"""

import threading
from dataclasses import dataclass, field

import numpy as np

from mlops_assets.domain.coded import plain
from mlops_assets.stores.bundles import Columns, Scorer

# Rows that are scored in one call, so that no request waits for a very large batch.
MAX_ROWS = 512


@dataclass(eq=False, slots=True)
class _Waiting:
    """A call: its rows, then its outputs or the error."""

    columns: Columns
    rows: int
    woken: threading.Event = field(default_factory=threading.Event)
    outputs: np.ndarray | None = None
    error: Exception | None = None


class BatchingScorer:
    """A Scorer for many threads, which joins the calls that come while another one runs."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.contract = scorer.contract
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._is_scoring = False

    def score(self, columns: Columns) -> np.ndarray:
        """Predict every row; see Scorer. Raises what the model raises for these rows."""
        mine = _Waiting(columns, len(next(iter(columns.values()))))
        with self._lock:
            self._queue.append(mine)
            leads = not self._is_scoring
            self._is_scoring = True
        if not leads:
            mine.woken.wait()
        if mine.outputs is None and mine.error is None:
            # Nobody has scored it, so it is the first in the queue, and its turn to score.
            self._score(self._take())
            self._pass_on()
        if mine.error is not None:
            raise mine.error
        assert mine.outputs is not None  # noqa: S101 - one of the two is set
        return mine.outputs

    def _take(self) -> list[_Waiting]:
        with self._lock:
            count, rows = 0, 0
            while count < len(self._queue) and (not count or rows < MAX_ROWS):
                rows += self._queue[count].rows
                count += 1
            batch, self._queue = self._queue[:count], self._queue[count:]
        return batch

    def _pass_on(self) -> None:
        """Let the first of those who came meanwhile score, if there is one."""
        with self._lock:
            following = self._queue[0] if self._queue else None
            self._is_scoring = following is not None
        if following is not None:
            following.woken.set()

    def _score(self, batch: list[_Waiting]) -> None:
        try:
            outputs = self._scorer.score(_joined([one.columns for one in batch]))
        except Exception as error:  # noqa: BLE001 - it is raised again for the caller
            if len(batch) == 1:
                batch[0].error = error
            else:
                # One request's rows must not fail those of the others.
                for one in batch:
                    self._score([one])
        else:
            first = 0
            for one in batch:
                one.outputs = outputs[first : first + one.rows]
                first += one.rows
        for one in batch:
            one.woken.set()


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    arrays = [plain(part) for part in parts]
    return {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}
