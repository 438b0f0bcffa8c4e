"""Canaries that walk by each method's verdicts on the same simulated weeks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary.naive import naive
from benchmarks.canary.worlds import MARGIN, WORLDS, Case, Floats
from mlops_assets.domain.canary import CanaryPolicy, CanaryState, advance, first_weight
from mlops_assets.domain.sequential import Comparison, Sample, Stratum, compare

WEEKS, WEEK, START = 24, timedelta(weeks=1), datetime(2026, 1, 5, tzinfo=UTC)
CONFIDENCE, EFFECT, PATIENCE, FIRST_STEP = 0.95, 0.1, 8, 4
METHODS = ("sequential", "paired", "z-weekly", "z-test")


@dataclass(frozen=True)
class Outcome:
    """What a method said of one simulated canary, and of the same weeks split in halves."""

    action: str
    periods: int
    better: bool
    ever_better: bool
    ever_worse: bool


def simulate(case: Case, seed: int) -> dict[str, Outcome]:
    """Half a year of weeks, each looked at once; every method walks its own canary on them."""
    draw = np.random.default_rng(seed)
    canaries = {method: _Canary(case, method) for method in METHODS}
    # A week's subjects come back every week, and each keeps its place in the split.
    places = draw.random(case.rows)
    habits = WORLDS[case.loss](draw, case.rows, case.own) if case.sticky else None
    for week in range(WEEKS):
        champion, challenger = WORLDS[case.loss](draw, case.rows, case.own)
        if habits:
            champion, challenger = (champion + habits[0]) / 2, (challenger + habits[1]) / 2
        else:
            places = draw.random(case.rows)
        less: dict[str, Floats] = {"paired": champion}
        plain = _stratum(case, champion, challenger, places < 0.5)
        for method, canary in canaries.items():
            # Paired: each loss less the champion's on the same row, which leaves it with 0.
            rows = [
                losses - less[method] if method in less else losses
                for losses in (champion, challenger)
            ]
            half = _stratum(case, rows[0], rows[1], places < 0.5) if method in less else plain
            canary.look(week, rows, places, half)
    return {method: canary.outcome() for method, canary in canaries.items()}


class _Canary:
    """One method's canary, and beside it a plain half-and-half split of the same weeks."""

    def __init__(self, case: Case, method: str) -> None:
        self.case, self.method = case, method
        self.policy = CanaryPolicy(MARGIN * case.champion_loss, PATIENCE * WEEK)
        weight = first_weight(case.rows, FIRST_STEP, self.policy)
        self.state = CanaryState(weight, START, 0)
        self.own: list[Stratum] = []
        self.halves: list[Stratum] = []
        self.action, self.periods = "hold", 0
        self.better = self.ever_better = self.ever_worse = False

    def look(self, week: int, rows: Sequence[Floats], places: Floats, half: Stratum) -> None:
        self.halves.append(half)
        verdict = self._compare(self.halves).verdict
        self.ever_better |= verdict == "better"
        self.ever_worse |= verdict == "worse"
        if self.action in ("promote", "stop"):
            return
        stratum = _stratum(self.case, rows[0], rows[1], places < self.state.weight / 100)
        self.own.append(stratum)
        comparison = self._compare(self.own)
        now = START + (week + 1) * WEEK
        labelled = self.state.rows_at_step + stratum.challenger.rows
        self.state = CanaryState(self.state.weight, self.state.since, labelled)
        step = advance(self.state, comparison, self.policy, now)
        self.action, self.periods = step.action, week + 1
        self.better |= comparison.verdict == "better"
        if step.action == "advance":
            self.state = CanaryState(step.weight, now, 0)

    def outcome(self) -> Outcome:
        return Outcome(self.action, self.periods, self.better, self.ever_better, self.ever_worse)

    def _compare(self, strata: Sequence[Stratum]) -> Comparison:
        if self.method.startswith("z"):
            return naive(strata, pooled=self.method == "z-test")
        effect = EFFECT * self.case.champion_loss
        return compare(strata, effect=effect, confidence=CONFIDENCE)


def _stratum(case: Case, champion: Floats, challenger: Floats, ours: NDArray[np.bool_]) -> Stratum:
    names = np.arange(len(ours)) if case.sticky else None
    return Stratum(
        Sample.of(champion[~ours], None if names is None else names[~ours]),
        Sample.of(challenger[ours], None if names is None else names[ours]),
    )
