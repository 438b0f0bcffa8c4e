"""Trains and judges versions on a model's own past, as its challenger and report assets do.

The search over candidates is run once, for the first version; the candidate that wins it is
refitted for every later training, which is what keeps a backtest affordable. As in operation, a
training leaves the newest `training.holdout` periods to the gates and to the reports' reference.
All gates are applied but the one on the serving bundle, because no bundle is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from mlops_assets.domain.answer_columns import answer_columns
from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.drift import drift
from mlops_assets.domain.evaluation import (
    Floats,
    paired_interval,
    row_losses,
)
from mlops_assets.domain.features import as_arrays
from mlops_assets.domain.learner import Reported, Training
from mlops_assets.domain.performance import LossReference, PerformanceReport, performance
from mlops_assets.domain.price import default_price
from mlops_assets.domain.profile import Profile, build
from mlops_assets.domain.scouts import Moments
from mlops_assets.domain.segments import SegmentReference, Segments, segment_reference
from mlops_assets.domain.splits import split_periods
from mlops_assets.domain.training import Trial
from mlops_assets.spec import Model
from mlops_assets.stores.backtest_cache import BacktestCache, Scored
from mlops_assets.stores.backtest_gates import gate_results
from mlops_assets.stores.backtest_history import PastRows
from mlops_assets.stores.backtest_moments import period_moments
from mlops_assets.stores.backtest_training import Say, search, start_of, targets, train


@dataclass(frozen=True)
class _Reference:
    """What the reports on a version compare with: the rows left to its gates."""

    profile: Profile
    loss: LossReference
    segments: SegmentReference


class PastLearner:
    """A model's past, as a domain.learner.Learner.

    `trained` counts the versions that the cache did not know, `cached` those that it did.

    Raises NotTrainableError where the past is too short for a first version.
    """

    def __init__(
        self,
        model: Model,
        past: PastRows,
        cache: BacktestCache,
        *,
        delay: int = 0,
        say: Say = lambda text: None,
        trial: Trial | None = None,
    ) -> None:
        rules = model.spec.training
        self.model, self.past, self._delay = model, past, delay
        self.trained = self.cached = 0
        self.periods: Sequence[str] = past.periods
        self.times: Sequence[datetime] = past.times
        self.rows: Sequence[int] = np.diff(past.starts).tolist()
        self.holdout = rules.holdout
        # Of the periods right before the first that is served, `delay` have no labels yet.
        matured = rules.window.min + rules.validation + rules.holdout
        self.first = matured + delay
        self.oldest = Training(matured - rules.holdout, rules.window.last)
        self._split = split_periods(
            past.periods[:matured],
            validation=rules.validation,
            holdout=rules.holdout,
            last=rules.window.last,
            least=rules.window.min,
        )
        self.moments: Sequence[Moments] = period_moments(model, past, self.oldest.end)
        self._cache, self._say, self._trial = cache, say, trial
        self._scored: dict[Training, Scored] = {}
        self._references: dict[Training, _Reference] = {}
        self._reports: dict[tuple[Training, int], Reported] = {}
        self._judgements: dict[tuple[Training, int], PerformanceReport] = {}

    @property
    def trial(self) -> Trial:
        """The candidate that every version is fitted with."""
        self._trial = self._trial or self._cache.trial()
        if self._trial is None:
            self._trial = search(self.model, self.past, self._split, self._say)
            self._cache.keep_trial(self._trial)
        return self._trial

    @property
    def default_price(self) -> float:
        """The price of a retrain where the user names none."""
        return default_price(self._reference(self.oldest).loss, self.holdout)

    def training_rows(self, training: Training) -> int:
        """Labelled rows that a version is trained on."""
        return sum(self.past.labelled[start_of(training) : training.end])

    def scored(self, training: Training) -> Scored:
        """What a version says about all later rows; trained if the cache does not know it."""
        if training not in self._scored:
            found = self._cache.scored(training)
            if found is None:
                trial = self.trial
                self._say(f"training {trial.name} up to {self.periods[training.end - 1]}")
                found = train(self.model, self.past, trial, training)
                self._cache.keep_scored(training, found)
                self.trained += 1
            else:
                self.cached += 1
            self._scored[training] = found
        return self._scored[training]

    def loss(self, training: Training, period: int) -> float:
        """Mean loss of a version on the labelled rows of a period."""
        return float(self.losses(training, period, period + 1).mean())

    def losses(self, training: Training, first: int, last: int) -> Floats:
        """Losses of the labelled rows of the periods first, …, last - 1."""
        place = self.past.place(first, last)
        mask = self.past.known[place]
        y = targets(self.model, self.past, place, mask, self.scored(training).classes)
        outputs, weights = self._outputs(training, place)[mask], self.past.weights_of(place, mask)
        return row_losses(self.model.spec.task, y, outputs, weights)

    def report(self, training: Training, period: int) -> Reported:
        """Reports on a version after a period, against its own reference."""
        key = (training, period)
        if key not in self._reports:
            found = self._cache.report(training, self.periods[period], self._delay)
            if found is None:
                found = self._report(training, period)
                self._cache.keep_report(training, self.periods[period], self._delay, found)
            self._reports[key] = found
        return self._reports[key]

    def worse(self, training: Training, than: Training, period: int) -> bool:
        """Whether a version is surely worse on a period than another one."""
        interval = paired_interval(
            self.losses(training, period, period + 1),
            self.losses(than, period, period + 1),
            1 - 2 * min(self.model.spec.monitoring.false_alarm_rate, 0.4),
            self.model.spec.training.seed,
        )
        return interval.lower > 0

    def refusal(self, challenger: Training, champion: Training) -> str:
        """Why the gates refuse a challenger; empty if they don't."""
        first, last = challenger.end, challenger.end + self.holdout
        place = self.past.place(first, last)
        mask, classes = self.past.known[place], self.scored(challenger).classes
        verdicts = gate_results(
            self.model.spec,
            self.past.frame.iloc[place][mask],
            targets(self.model, self.past, place, mask, classes),
            self._outputs(challenger, place)[mask],
            classes,
            self.losses(challenger, first, last),
            self.losses(champion, first, last),
            self.past.weights_of(place, mask),
        )
        return "; ".join(gate.reason for gate in verdicts if not gate.passed)

    def _outputs(self, training: Training, place: slice) -> Floats:
        """Outputs (n, k) for rows after the training."""
        begin = int(self.past.starts[training.end])
        part = self.scored(training).outputs[place.start - begin : place.stop - begin]
        return part.astype(np.float64)

    def _reference(self, training: Training) -> _Reference:
        if training not in self._references:
            first, last = training.end, training.end + self.holdout
            place = self.past.place(first, last)
            mask = self.past.known[place]
            classes = self.scored(training).classes
            contract = self.model.spec.contract(self.model.name, classes)
            inputs = as_arrays(self.past.frame.iloc[place][mask])
            outputs = self._outputs(training, place)[mask]
            self._references[training] = _Reference(
                build(inputs, contract.watched, outputs, classes),
                LossReference.of(self.losses(training, first, last)),
                segment_reference(
                    self.model.spec.task,
                    targets(self.model, self.past, place, mask, classes),
                    outputs,
                    inputs,
                    contract.watched,
                    blocks=self.past.blocks[place][mask],
                    weights=self.past.weights_of(place, mask),
                ),
            )
        return self._references[training]

    def _report(self, training: Training, period: int) -> Reported:
        rules, place = self.model.spec.monitoring, self.past.place(period, period + 1)
        outputs, classes = self._outputs(training, place), self.scored(training).classes
        shifted = drift(
            self._reference(training).profile,
            {**as_arrays(self.past.frame.iloc[place]), **answer_columns(outputs, classes)},
            false_alarm_rate=rules.false_alarm_rate,
            min_effect=rules.min_effect,
            min_rows=rules.min_rows,
            seed=self.model.spec.training.seed,
        )
        before = [self._judged(training, i).sample for i in range(self._since(training), period)]
        judged = self._judge(training, period, [one for one in before if one is not None])
        return Reported(
            rows=len(outputs),
            loss=float(judged.loss or 0.0),
            reference_loss=judged.reference_loss,
            performance_judged=judged.judged,
            harmed=judged.harmed,
            accuracy=judged.metrics.get("accuracy"),
            drift_judged=shifted.judged,
            drift_flagged=shifted.flagged,
            decay_periods=judged.decay_periods if judged.decaying else 0,
            harmed_part=judged.harmed_part,
        )

    def _since(self, training: Training) -> int:
        """The first period that a version serves, if it is released as soon as it is trained."""
        return training.end + self.holdout + self._delay

    def _judged(self, training: Training, period: int) -> PerformanceReport:
        key = (training, period)
        if key not in self._judgements:
            self._judgements[key] = self._judge(training, period, ())
        return self._judgements[key]

    def _judge(
        self, training: Training, period: int, before: Sequence[LossSample]
    ) -> PerformanceReport:
        """The loss test of a period, after `before` that were judged."""
        spec, classes = self.model.spec, self.scored(training).classes
        rules, place = spec.monitoring, self.past.place(period, period + 1)
        mask, outputs = self.past.known[place], self._outputs(training, place)
        return performance(
            spec.task,
            targets(self.model, self.past, place, mask, classes),
            outputs[mask],
            classes,
            predictions=len(outputs),
            reference=self._reference(training).loss,
            min_rows=rules.min_rows,
            min_coverage=rules.min_label_coverage,
            false_alarm_rate=rules.false_alarm_rate,
            previous_losses=None,
            seed=spec.training.seed,
            min_harm=rules.min_harm,
            past=before,
            missing_outputs=outputs[~mask],
            usual_coverage=self._usual_coverage(training),
            weights=self.past.weights_of(place, mask),
            segments=Segments(
                self._reference(training).segments,
                as_arrays(self.past.frame.iloc[place][mask]),
                self.past.blocks[place][mask],
                as_arrays(self.past.frame.iloc[place][~mask]),
            ),
        )

    def _usual_coverage(self, training: Training) -> float:
        place = self.past.place(training.end, training.end + self.holdout)
        return float(self.past.known[place].mean())
