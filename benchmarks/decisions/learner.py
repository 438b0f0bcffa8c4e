"""A learner for the replay: boosted trees on a table, with what each training and report cost."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.data import Table
from mlops_assets.domain.answer_columns import answer_columns
from mlops_assets.domain.backtest import Reported, Training, evenly
from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.drift import drift
from mlops_assets.domain.encoding import fit_encoding
from mlops_assets.domain.evaluation import Floats, paired_interval, row_losses
from mlops_assets.domain.performance import performance
from mlops_assets.domain.profile import Profile, build
from mlops_assets.domain.scouts import Moments, Scouts, moments
from mlops_assets.domain.segments import SegmentReference, Segments, segment_reference

# A boosted tree as a search would choose it for some thousand rows; the defaults overfit those.
SETTINGS: dict[str, Any] = {
    "max_iter": 100,
    "learning_rate": 0.06,
    "max_leaf_nodes": 16,
    "min_samples_leaf": 40,
    "early_stopping": False,
}
MOST_LEVELS = 200
START = datetime(2000, 1, 1, tzinfo=UTC)
# Of a training's rows, so many are kept from it as the release's holdout; they come from its
# newest periods, as those of a release do.
HOLDOUT_SHARE, HOLDOUT_PERIODS = 0.2, 8
FALSE_ALARMS, LEAST_EFFECT, LEAST_ROWS = 0.01, 0.1, 50


@dataclass(frozen=True)
class Fitted:
    """A trained version: `outputs` (n, 2) for all rows from its first period on."""

    model: Any
    empty: NDArray[np.bool_]
    since: int
    outputs: Floats
    losses: Floats
    reference: LossSample
    segments: SegmentReference
    profile: Profile
    cpu_seconds: float


class TableLearner:
    """Trains on a table's periods (domain.backtest.Learner); keeps what it has trained."""

    holdout = 0

    def __init__(self, table: Table, seed: int, first: int | None = None) -> None:
        self.table, self.seed = table, seed
        self.first = first or max(4, table.periods // 5)
        self.oldest = Training(self.first)
        self.periods: Sequence[str] = [f"{period:04d}" for period in range(table.periods)]
        self.times: Sequence[datetime] = evenly(START, timedelta(days=31), table.periods)
        self.rows: Sequence[int] = np.diff(table.starts).tolist()
        kept = np.random.default_rng(seed + 1).random(len(table.y)) < HOLDOUT_SHARE
        self._for_training = ~kept
        self._fitted: dict[Training, Fitted] = {}
        self._reports: dict[tuple[Training, int], Reported] = {}
        self.report_cpu, self.reported = 0.0, 0
        begun = time.process_time()
        self.moments: Sequence[Moments] = self._moments()
        self.moments_cpu = time.process_time() - begun

    def _moments(self) -> Sequence[Moments]:
        """What scouts need of each period; the encoding is that of the first training."""
        known = self.table.rows(0, self.first)
        kinds = {c.name: _kind(c.type) for c in self.table.contract}
        encoding = fit_encoding({n: v[known] for n, v in self.table.columns.items()}, kinds)
        found = []
        for period in range(self.table.periods):
            rows = self.table.rows(period, period + 1)
            encoded = encoding.encode({n: v[rows] for n, v in self.table.columns.items()})
            found.append(moments(encoded, self.table.y[rows, None].astype(np.float64)))
        return found

    @cached_property
    def scouts(self) -> Scouts:
        """The scouts of all periods, shared by all replays."""
        return Scouts(self.moments)

    @cached_property
    def _levels(self) -> dict[str, NDArray[Any]]:
        """The levels of each category, the most frequent first."""
        found = {}
        for name, values in self.table.columns.items():
            if values.dtype == object:
                levels, counts = np.unique(values.astype(str), return_counts=True)
                found[name] = levels[np.argsort(-counts, kind="stable")][:MOST_LEVELS]
        return found

    @cached_property
    def _matrix(self) -> Floats:
        return self.matrix(self.table.columns)

    def matrix(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        """The columns as numbers; a category's levels are numbered by how often they occur."""
        return np.column_stack(
            [
                _codes(values, self._levels[name]) if name in self._levels else values
                for name, values in columns.items()
            ]
        )

    def predict(self, training: Training, columns: Mapping[str, NDArray[Any]]) -> Floats:
        """Outputs (n, 2) of a version on other rows."""
        fitted = self.fit(training)
        outputs = fitted.model.predict_proba(self.matrix(columns)[:, ~fitted.empty])
        return np.asarray(outputs, dtype=np.float64)

    def training_rows(self, training: Training) -> int:
        """Rows that a version is trained on."""
        start = max(0, training.end - training.window) if training.window else 0
        return int(self.table.starts[training.end] - self.table.starts[start])

    def loss(self, training: Training, period: int) -> float:
        """Mean log loss of a version on a period."""
        return float(self.row_losses(training, period).mean())

    def row_losses(self, training: Training, period: int) -> Floats:
        """Log losses (n,) of a period's rows."""
        fitted = self.fit(training)
        return fitted.losses[self._after(fitted, period)]

    def report(self, training: Training, period: int) -> Reported:
        """The project's own reports on a version after a period."""
        key = (training, period)
        if key not in self._reports:
            begun = time.process_time()
            self._reports[key] = self._report(training, period)
            self.report_cpu += time.process_time() - begun
            self.reported += 1
        return self._reports[key]

    def worse(self, training: Training, than: Training, period: int) -> bool:
        """Whether a version is surely worse on a period than another one."""
        losses = self.row_losses(training, period)
        interval = paired_interval(losses, self.row_losses(than, period), 0.98, self.seed)
        return interval.lower > 0

    def refusal(self, challenger: Training, champion: Training) -> str:
        """The protocol has no gates: what is trained is released."""
        return ""

    def fit(self, training: Training) -> Fitted:
        """Train a version, or take it from those that were trained before."""
        if training not in self._fitted:
            self._fitted[training] = self._fit(training)
        return self._fitted[training]

    def _fit(self, training: Training) -> Fitted:
        from sklearn.ensemble import HistGradientBoostingClassifier

        matrix = self._matrix
        categories = np.array([name in self._levels for name in self.table.columns])
        start = max(0, training.end - training.window) if training.window else 0
        known = np.arange(self.table.starts[start], self.table.starts[training.end])
        rows = known[self._for_training[known]]
        newest = self.table.starts[max(start, training.end - HOLDOUT_PERIODS)]
        held = known[~self._for_training[known] & (known >= newest)]
        # A column without any value in the training rows has no bins: it is left out.
        empty = np.asarray(~np.isfinite(matrix[rows]).any(axis=0))
        begun = time.process_time()
        model = HistGradientBoostingClassifier(
            **SETTINGS, categorical_features=categories[~empty], random_state=self.seed
        ).fit(matrix[np.ix_(rows, ~empty)], self.table.y[rows])
        spent = time.process_time() - begun
        since = min(training.end, self.table.periods - 1)
        outputs = model.predict_proba(matrix[self.table.starts[since] :, ~empty])
        held_outputs = model.predict_proba(matrix[np.ix_(held, ~empty)])
        held_losses = row_losses("binary", self.table.y[held], held_outputs)
        return Fitted(
            model=model,
            empty=empty,
            since=since,
            outputs=outputs,
            losses=row_losses("binary", self.table.y[self.table.starts[since] :], outputs),
            reference=LossSample(
                float(held_losses.mean()), float(held_losses.std(ddof=1)), len(held)
            ),
            segments=segment_reference(
                "binary",
                self.table.y[held],
                held_outputs,
                self._columns(held),
                self.table.contract,
                blocks=np.searchsorted(self.table.starts, held, side="right"),
            ),
            profile=build(self._columns(held), self.table.contract, held_outputs, ("0", "1")),
            cpu_seconds=spent,
        )

    def _report(self, training: Training, period: int) -> Reported:
        fitted, rows = self.fit(training), self.table.rows(period, period + 1)
        outputs = fitted.outputs[self._after(fitted, period)]
        past = [
            LossSample(float(x.mean()), float(x.std(ddof=1)), len(x))
            for x in (
                self.row_losses(training, p) for p in range(max(self.first, training.end), period)
            )
        ]
        columns = {n: v[rows] for n, v in self.table.columns.items()}
        quality = performance(
            "binary",
            self.table.y[rows],
            outputs,
            ("0", "1"),
            predictions=len(outputs),
            reference=fitted.reference,
            min_rows=LEAST_ROWS,
            min_coverage=0.8,
            false_alarm_rate=FALSE_ALARMS,
            previous_losses=None,
            seed=self.seed,
            past=past,
            segments=Segments(fitted.segments, columns, np.zeros(len(outputs), dtype=np.intp)),
        )
        inputs = drift(
            fitted.profile,
            columns | answer_columns(outputs, ("0", "1")),
            false_alarm_rate=FALSE_ALARMS,
            min_effect=LEAST_EFFECT,
            min_rows=LEAST_ROWS,
            seed=self.seed,
        )
        return Reported(
            rows=len(outputs),
            loss=float(self.row_losses(training, period).mean()),
            reference_loss=fitted.reference.mean,
            performance_judged=quality.judged,
            harmed=quality.harmed or quality.decaying,
            accuracy=quality.metrics.get("accuracy"),
            drift_judged=inputs.judged,
            drift_flagged=inputs.flagged,
        )

    def _columns(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {name: values[rows] for name, values in self.table.columns.items()}

    def _after(self, fitted: Fitted, period: int) -> slice:
        start = self.table.starts[fitted.since]
        rows = self.table.rows(period, period + 1)
        return slice(int(rows.start - start), int(rows.stop - start))


def _kind(column_type: str) -> Any:
    return "category" if column_type == "category" else "numeric"


def _codes(values: NDArray[Any], levels: NDArray[Any]) -> Floats:
    order = np.argsort(levels)
    texts = values.astype(str)
    at = np.minimum(np.searchsorted(levels, texts, sorter=order), len(levels) - 1)
    ranks = order[at]
    return np.where(levels[ranks] == texts, ranks, MOST_LEVELS).astype(np.float64)
