"""A category column as codes into a table of its texts, as Arrow's dictionaries hold it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Coded:
    """A category column: `values[codes]`, with MISSING_CATEGORY for a missing value."""

    codes: np.ndarray
    values: tuple[str, ...]

    def texts(self) -> np.ndarray:
        """The column as an object array of str, of shape (n,)."""
        texts: np.ndarray = np.array(self.values, dtype=object)[self.codes]
        return texts


Column = np.ndarray | Coded
