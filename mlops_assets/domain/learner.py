"""A history that versions can be trained on, as backtests see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mlops_assets.domain.scouts import Moments


@dataclass(frozen=True)
class Training:
    """What a version is trained on: the last `window` (None: all) of the first `end` periods."""

    end: int
    window: int | None = None


@dataclass(frozen=True)
class Reported:
    """What the reports on a version say of a period whose labels have come.

    `decay_periods` counts the periods of a slow rise of the loss that is proven (0: there is none);
    `harmed_part` is the column by which a part of the rows is harmed, where it is that part alone.
    """

    rows: int
    loss: float
    reference_loss: float
    performance_judged: bool
    harmed: bool
    accuracy: float | None
    drift_judged: bool
    drift_flagged: tuple[str, ...]
    decay_periods: int = 0
    harmed_part: str = ""


class Learner(Protocol):
    """A history that versions can be trained on; both may be expensive, so it keeps them.

    The first version, trained on `oldest`, serves from period `first` on. Every training leaves
    the newest `holdout` labelled periods to the gates. `rows` are all rows of a period, labelled
    or not.
    """

    periods: Sequence[str]
    times: Sequence[datetime]
    rows: Sequence[int]
    moments: Sequence[Moments]
    first: int
    oldest: Training
    holdout: int

    def training_rows(self, training: Training) -> int:
        """Labelled rows that a version is trained on."""

    def loss(self, training: Training, period: int) -> float:
        """Mean loss of a version on a period."""

    def report(self, training: Training, period: int) -> Reported:
        """Reports on a version after a period, against its own reference."""

    def worse(self, training: Training, than: Training, period: int) -> bool:
        """Whether a version is surely worse on a period than another one."""

    def refusal(self, challenger: Training, champion: Training) -> str:
        """Why the gates refuse a challenger; empty if they don't."""
