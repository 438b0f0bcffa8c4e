from collections.abc import Sequence

import numpy as np

from mlops_assets.domain.tree_scoring import Shared

class QuickScorer:
    def __init__(
        self,
        columns: Sequence[int],
        thresholds: Sequence[np.ndarray],
        is_strict: bool,
        tables: Sequence[Shared],
        leaves: np.ndarray,
        slices: Sequence[slice],
    ) -> None: ...
    def sums(self, matrix: np.ndarray) -> np.ndarray: ...
