"""How much a model relies on each of its inputs: permutation importance.

An input's values are shuffled among the rows, and the loss rises by what the model lost with it
(Breiman, Random Forests, Machine Learning 45, 2001; of any model: Fisher, Rudin and Dominici,
JMLR 20, 2019). Inputs that say the same share their importance, and each of them shows little.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.evaluation import Interval, row_losses

ROWS = 2_000
REPEATS = 3

Score = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]


@dataclass(frozen=True)
class Importance:
    """How much the mean loss rises without what `column` says, with an interval over the rows."""

    column: str
    rise: Interval

    @property
    def matters(self) -> bool:
        """Whether the loss surely rises."""
        return self.rise.lower > 0


def importances(
    task: Task,
    score: Score,
    columns: Mapping[str, NDArray[Any]],
    y: NDArray[Any],
    *,
    seed: int,
) -> tuple[Importance, ...]:
    """The importance of each of `columns` (n,), largest first.

    `score` gives the outputs (n, k) for columns as given, `y` (n,) the truth. Of more than 2,000
    rows as many are drawn. Intervals are normal ones of 95% over the rows, whose losses are means
    of three shuffles.
    """
    rng = np.random.default_rng(seed)
    picked = np.sort(rng.permutation(len(y))[:ROWS])
    rows, truth = {name: values[picked] for name, values in columns.items()}, y[picked]
    losses = row_losses(task, truth, score(rows))
    found = []
    for name, values in rows.items():
        rises = np.zeros(len(truth))
        for _ in range(REPEATS):
            shuffled = {**rows, name: rng.permutation(values)}
            rises += (row_losses(task, truth, score(shuffled)) - losses) / REPEATS
        half = 1.96 * float(rises.std()) / len(truth) ** 0.5
        mean = float(rises.mean())
        found.append(Importance(name, Interval(mean, mean - half, mean + half)))
    return tuple(sorted(found, key=lambda one: (-one.rise.mean, one.column)))
