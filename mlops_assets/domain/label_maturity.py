"""What is known of a period's labels, and what the missing ones may hide.

Labels that arrive first are not drawn at random: short flights land first, frauds are reported
before honest payments are known to be honest. So a period waits until its labels have had their
time, and what is still missing counts as if the model had been right there: the best case of
Manski's bounds (Nonparametric bounds on treatment effects, American Economic Review 1990). Harm
that holds even then is harm whatever the missing labels say.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import PROBABILITY_FLOOR, Floats


@dataclass(frozen=True)
class LabelLag:
    """Hours from event to known label over the labels that are known; None where there are none.

    While labels are still arriving these are those of the early ones.
    """

    median_hours: float | None
    p90_hours: float | None

    @classmethod
    def of(cls, hours: NDArray[Any]) -> "LabelLag":
        """From each known label's hours, in any order."""
        if not len(hours):
            return cls(None, None)
        middle, late = np.quantile(np.asarray(hours, dtype=np.float64), [0.5, 0.9])
        return cls(float(middle), float(late))


def immature(now: datetime, matures_at: datetime) -> str:
    """Why a period is too young to be judged at `now`; empty when its labels had their time."""
    if now >= matures_at:
        return ""
    return f"labels have their time until {matures_at:%Y-%m-%d %H:%M}, and it is {now:%m-%d %H:%M}"


def best_case_losses(task: Task, outputs: NDArray[Any]) -> Floats:
    """The least loss (n,) that each row can have, whatever its label: `outputs` (n, k).

    That of the likeliest class for a classification, 0 for a regression.
    """
    scores = np.asarray(outputs, dtype=np.float64)
    if task == "regression":
        return np.zeros(len(scores))
    likeliest = scores.max(axis=1) if len(scores) else np.empty(0)
    return np.asarray(-np.log(np.clip(likeliest, PROBABILITY_FLOOR, 1.0)), dtype=np.float64)


def share_outstanding(coverage: float, usual_coverage: float) -> float:
    """Of the labels that can be expected, the share that is missing yet.

    `usual_coverage` is the share of rows that ever get a label, as on the release's holdout: a
    cancelled flight has no delay, and its label is not late. Raises DataError for shares outside
    of 0 to 1.
    """
    if not (0 <= coverage <= 1 and 0 < usual_coverage <= 1):
        raise DataError(f"coverage lies between 0 and 1, not {coverage} of {usual_coverage}")
    return max(0.0, 1 - coverage / usual_coverage)


def loss_at_best(labelled: Floats, best_of_missing: Floats, outstanding: float) -> float:
    """Mean loss of the period if every outstanding label proved the model right."""
    known = float(labelled.mean())
    if not outstanding:
        return known
    best = float(best_of_missing.mean()) if len(best_of_missing) else 0.0
    return (1 - outstanding) * known + outstanding * min(best, known)
