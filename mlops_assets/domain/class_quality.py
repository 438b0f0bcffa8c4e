"""How a classifier does class by class: what an average over rows hides of the rare ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mlops_assets.domain.evaluation import relative, row_losses


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
    y: NDArray[Any],
    outputs: NDArray[Any],
    classes: Sequence[str],
    weights: NDArray[Any] | None = None,
) -> tuple[ClassQuality, ...]:
    """The quality of each class, in the order of `classes`.

    `y` (n,), `outputs` (n, classes) and `weights` (n,) as in evaluation.metrics. Raises DataError
    like it.
    """
    losses = row_losses("multiclass", y, outputs, weights)
    predicted, counts = outputs.argmax(axis=1), relative(weights, len(y))
    found = []
    for place, name in enumerate(classes):
        are, told = y == place, predicted == place
        hits, mine, all_told = (float(counts[x].sum()) for x in (are & told, are, told))
        found.append(
            ClassQuality(
                name=name,
                rows=int(are.sum()),
                share=mine / len(y),
                told=float((outputs[:, place] * counts).mean()),
                precision=hits / (all_told or 1),
                recall=hits / (mine or 1),
                f1=2 * hits / (mine + all_told or 1),
                log_loss=float(losses[are].sum()) / mine if mine else None,
            )
        )
    return tuple(found)
