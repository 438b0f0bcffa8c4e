"""Categories whose rare levels are taken together."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class FrequentLevels(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Number the levels that are frequent in the rows it is fitted on from 1; all others are 0.

    The most frequent level always counts. Input is text of shape (n, 1); output of shape (n, 1),
    or with `one_hot` of shape (n, levels + 1), the others first.
    """

    def __init__(self, min_share: float = 0.01, one_hot: bool = False) -> None:
        self.min_share = min_share
        self.one_hot = one_hot

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learn which levels are frequent, in the order of their names."""
        levels, counts = np.unique(np.asarray(X, dtype=object)[:, 0], return_counts=True)
        least = min(self.min_share * counts.sum(), counts.max())
        self.levels_ = levels[counts >= least].astype(object)
        self.n_features_in_ = 1
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the levels' numbers, float64."""
        texts = np.asarray(X, dtype=object)[:, 0]
        found = (pd.Index(self.levels_).get_indexer(texts) + 1).reshape(-1, 1)
        if self.one_hot:
            found = found == np.arange(len(self.levels_) + 1)
        return np.asarray(found, dtype=np.float64)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the output after its column and, one-hot, its levels."""
        base = str(input_features[0] if input_features is not None else "x0")
        names = [f"{base}_{level}" for level in ("(rare)", *self.levels_)]
        return np.asarray(names if self.one_hot else [f"frequent({base})"], dtype=object)
