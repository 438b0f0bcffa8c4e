"""How a classifier does class by class: what an average over rows hides of the rare ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mlops_assets.domain.evaluation import row_losses


@dataclass(frozen=True)
class ClassQuality:
    """One class: its `share` of the rows, the mean probability `told` for it, and the rest.

    A model that is calibrated in the large tells what happens: `told` is near `share`. Precision,
    recall and f1 are those of the class against all others (0 where nothing was predicted, as in
    scikit-learn), `log_loss` is the mean over the rows of the class; None where it has no row.
    """

    name: str
    rows: int
    share: float
    told: float
    precision: float
    recall: float
    f1: float
    log_loss: float | None


def class_quality(
    y: NDArray[Any], outputs: NDArray[Any], classes: Sequence[str]
) -> tuple[ClassQuality, ...]:
    """The quality of each class, in the order of `classes`.

    `y` (n,) and `outputs` (n, classes) as in evaluation.metrics. Raises DataError like it.
    """
    losses = row_losses("multiclass", y, outputs)
    predicted = outputs.argmax(axis=1)
    found = []
    for place, name in enumerate(classes):
        are, told = y == place, predicted == place
        rows, hits = int(are.sum()), int((are & told).sum())
        found.append(
            ClassQuality(
                name=name,
                rows=rows,
                share=rows / len(y),
                told=float(outputs[:, place].mean()),
                precision=hits / max(int(told.sum()), 1),
                recall=hits / max(rows, 1),
                f1=2 * hits / max(rows + int(told.sum()), 1),
                log_loss=float(losses[are].mean()) if rows else None,
            )
        )
    return tuple(found)
