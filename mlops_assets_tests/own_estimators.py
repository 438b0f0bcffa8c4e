"""Classes that a user may name in a spec, good and bad."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

NUMBER = 3


class NoEstimator:
    """Learns nothing."""


class Frequencies(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Tells the same probabilities of every row; nothing compiles it, and nothing trusts it."""

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Count the classes of y (n,)."""
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares_ = counts / counts.sum()
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most frequent class (n,)."""
        return np.full(len(X), self.classes_[self.shares_.argmax()])

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """The shares of the classes (n, k)."""
        return np.tile(self.shares_, (len(X), 1))
