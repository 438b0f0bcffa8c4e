"""A category column as codes into a table of its texts, as Arrow's dictionaries hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Coded:
    """A category column: `values[codes]`, with MISSING_CATEGORY for a missing value."""

    codes: np.ndarray
    values: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Coded":
        """The column of these texts, its values in the order in which they first occur."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        codes = np.fromiter(map(places.__getitem__, texts), dtype=np.int32, count=len(texts))
        return cls(codes, tuple(places))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> "Coded":
        """The rows of a slice, of row numbers or of a mask of shape (n,)."""
        return Coded(self.codes[rows], self.values)

    def tolist(self) -> list[str]:
        """The text of each row."""
        return [self.values[code] for code in self.codes.tolist()]

    def texts(self) -> np.ndarray:
        """The column as an object array of str, of shape (n,)."""
        texts: np.ndarray = np.array(self.values, dtype=object)[self.codes]
        return texts


Column = np.ndarray | Coded


def plain(columns: Mapping[str, Column]) -> dict[str, np.ndarray]:
    """The columns as arrays, text where they are coded."""
    return {n: c.texts() if isinstance(c, Coded) else c for n, c in columns.items()}
