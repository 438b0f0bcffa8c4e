"""Rare classes: learned as if they were frequent, and told with the probability that they have."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline


class BalancedClasses(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier fitted with weights that make all classes count the same in sum.

    A row of class c counts n / (k n_c), with n rows in k classes, n_c of them in c (King and Zeng,
    Political Analysis 2001). Such a fit tells probabilities of a world in which every class is
    equally frequent, so each is divided by its class' weight and the row is scaled to 1 again
    (Elkan, IJCAI 2001; Saerens et al., Neural Computation 2002): what comes out is calibrated to
    the rows as they are. `scale_` (k,) is what probabilities are multiplied by.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit on X (n, features) and class indices y (n,); `sample_weight` (n,) counts besides."""
        self.classes_, where = np.unique(y, return_inverse=True)
        counts = np.ones(len(where)) if sample_weight is None else np.asarray(sample_weight)
        mass = np.bincount(where, weights=counts)
        weights = counts.sum() / (len(mass) * mass)
        self.scale_ = 1 / weights
        self.estimator_ = clone(self.estimator).fit(X, y, sample_weight=counts * weights[where])
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities (n, k)."""
        told = np.asarray(self.estimator_.predict_proba(X), dtype=np.float64) * self.scale_
        return np.asarray(told / told.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The likeliest class of each row (n,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def fitted_estimator(pipeline: Pipeline) -> Any:
    """The estimator at the end of a fitted pipeline, without what balances its classes."""
    last = pipeline.named_steps["model"]
    return last.estimator_ if isinstance(last, BalancedClasses) else last
