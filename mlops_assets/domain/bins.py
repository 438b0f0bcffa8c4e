"""In which of several bins a number lies."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Bins(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """How many edges a number reaches: 0 below the first one, -1 if it is missing.

    Edges are given, or the quantiles of the rows that it is fitted on, of which equal ones count
    once. Input is an array of shape (n, 1); output of shape (n, 1), or with `one_hot` of shape
    (n, edges + 2), the missing first.
    """

    def __init__(
        self, edges: Sequence[float] = (), quantiles: int | None = None, one_hot: bool = False
    ) -> None:
        self.edges = edges
        self.quantiles = quantiles
        self.one_hot = one_hot

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learn the edges, if they are quantiles."""
        values = np.asarray(X, dtype=np.float64)[:, 0]
        known = values[np.isfinite(values)]
        if self.quantiles and len(known):
            shares = np.linspace(0, 1, self.quantiles + 1)[1:-1]
            found = np.quantile(known, shares, method="lower")
        else:
            found = np.asarray(self.edges, dtype=np.float64)
        self.edges_ = np.unique(found)
        self.n_features_in_ = 1
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the bins, float64."""
        values = np.asarray(X, dtype=np.float64)
        reached = (values >= self.edges_).sum(axis=1, keepdims=True)
        found = np.where(np.isnan(values), -1.0, reached)
        if self.one_hot:
            found = found == np.arange(-1, len(self.edges_) + 1)
        return np.asarray(found, dtype=np.float64)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the bins after their column."""
        base = f"bin({input_features[0] if input_features is not None else 'x0'})"
        parts = ["_missing", *(f"_{place}" for place in range(len(self.edges_) + 1))]
        names = [base + part for part in parts] if self.one_hot else [base]
        return np.asarray(names, dtype=object)
