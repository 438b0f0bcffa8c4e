"""Made-up histories for tests of decisions: losses by formula, moments of drifting rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from mlops_assets.domain.backtest import Reported, Training, evenly
from mlops_assets.domain.scouts import Moments, moments

Loss = Callable[[int, int], float]


def drifting_moments(
    periods: int, rows: int = 200, *, drift: float = 0.0, seed: int = 0, columns: int = 3
) -> list[Moments]:
    """Moments of a linear world whose weights walk by `drift` per period."""
    draw = np.random.default_rng(seed)
    weights, way = np.ones(columns), draw.normal(size=columns)
    way /= np.linalg.norm(way)
    found = []
    for period in range(periods):
        x = np.column_stack([draw.normal(size=(rows, columns)), np.ones(rows)])
        y = x[:, :-1] @ (weights + drift * period * way) + 0.5 * draw.normal(size=rows)
        found.append(moments(x, y[:, None]))
    return found


@dataclass
class MadeUp:
    """A Learner whose versions lose `losses(end, period)`, and are harmed as `harms` says."""

    losses: Loss
    total: int
    harms: Callable[[int, int], bool] = lambda end, period: False
    refuses: Callable[[int], str] = lambda end: ""
    is_worse: Callable[[int, int, int], bool] = lambda end, than, period: False
    judges: Callable[[int], bool] = lambda period: True
    first: int = 3
    holdout: int = 0
    rows: Sequence[int] = ()
    moments: Sequence[Moments] = ()
    periods: Sequence[str] = field(init=False)
    times: Sequence[datetime] = field(init=False)

    def __post_init__(self) -> None:
        self.periods = [f"p{place:03d}" for place in range(self.total)]
        start = datetime(2026, 1, 1, tzinfo=UTC)
        self.times = evenly(start, timedelta(days=30), self.total)
        self.rows = self.rows or [200] * self.total
        self.moments = self.moments or drifting_moments(self.total)
        self.oldest = Training(max(self.first - self.holdout, 1))

    def training_rows(self, training: Training) -> int:
        start = max(0, training.end - training.window) if training.window else 0
        return sum(self.rows[start : training.end])

    def loss(self, training: Training, period: int) -> float:
        assert training.end + self.holdout <= period, "a version serves what it was trained on"
        return self.losses(training.end, period)

    def report(self, training: Training, period: int) -> Reported:
        harmed = self.harms(training.end, period)
        return Reported(
            rows=self.rows[period],
            loss=self.loss(training, period),
            reference_loss=0.1,
            performance_judged=self.judges(period),
            harmed=harmed,
            accuracy=None,
            drift_judged=True,
            drift_flagged=(),
        )

    def worse(self, training: Training, than: Training, period: int) -> bool:
        return self.is_worse(training.end, than.end, period)

    def refusal(self, challenger: Training, champion: Training) -> str:
        return self.refuses(challenger.end)
