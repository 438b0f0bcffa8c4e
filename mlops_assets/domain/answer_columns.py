"""A model's answers as columns that can drift: its scores, and the class it predicts.

A shift of the scores is the most telling single sign that a model meets other data (Lipton, Wang
and Smola 2018, arXiv 1802.03916; Rabanser, Günnemann and Lipton 2019, arXiv 1810.11953).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCORE = "prediction score"
PREDICTED = "predicted class"


def score_columns(outputs: NDArray[Any], classes: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """The model's score as columns: outputs (n, 1), (n, 2) or (n, classes).

    The value of a regression and the probability of class 1 are SCORE; more classes have one
    column "p(<class>)" each, named by index without `classes`.
    """
    scores = np.asarray(outputs, dtype=np.float64)
    if scores.shape[1] <= 2:
        return {SCORE: scores[:, -1]}
    names = classes or [str(index) for index in range(scores.shape[1])]
    return {f"p({name})": scores[:, index] for index, name in enumerate(names)}


def answer_columns(outputs: NDArray[Any], classes: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """The score columns and, of a classifier, PREDICTED: the name of each row's likeliest class.

    Equal probabilities give the lower class, as predictions do everywhere.
    """
    scores = score_columns(outputs, classes)
    if outputs.shape[1] == 1:
        return scores
    names = classes or [str(index) for index in range(outputs.shape[1])]
    likeliest = np.asarray(outputs, dtype=np.float64).argmax(axis=1)
    return {**scores, PREDICTED: np.array(list(names), dtype=object)[likeliest]}
