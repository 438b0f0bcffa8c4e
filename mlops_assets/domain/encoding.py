"""Rows as indicator columns, for what needs sums only (domain.scouts, domain.segments).

A numeric column becomes one indicator per bin, with bins of about equal mass; a category one per
frequent level, with a shared one for the rest. Missing values have an indicator of their own. The
bins and levels are those of the first rows, and stay: sums of different periods can then be added.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import Floats

BINS = 8
MOST_LEVELS = 20
MOST_WIDTH = 400


@dataclass(frozen=True)
class EncodedColumn:
    """`edges` between the bins of numbers, or the `levels` of a category that have a column."""

    name: str
    kind: Literal["numeric", "category"]
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Indicators: bins and missing, or levels and the rest."""
        return len(self.edges) + 2 if self.kind == "numeric" else len(self.levels) + 1

    def codes(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """Which indicator, from 0, each of the values (n,) has."""
        if self.kind == "category":
            levels = np.array(self.levels, dtype=str)
            texts = np.asarray(values, dtype=str)
            at = np.minimum(np.searchsorted(levels, texts), max(len(levels) - 1, 0))
            known = levels[at] == texts if len(levels) else np.zeros(len(texts), dtype=bool)
            return np.where(known, at, len(levels))
        numbers = np.asarray(values, dtype=np.float64)
        bins = np.searchsorted(np.array(self.edges), numbers, side="right")
        return np.where(np.isfinite(numbers), bins, len(self.edges) + 1)


@dataclass(frozen=True)
class Encoding:
    """How columns become (n, width) indicators, the last one a constant 1."""

    columns: tuple[EncodedColumn, ...]

    @property
    def width(self) -> int:
        """Columns of what `encode` returns."""
        return sum(column.width for column in self.columns) + 1

    def encode(self, columns: Mapping[str, NDArray[Any]]) -> Floats:
        """Indicators (n, width) of (n,) arrays. Raises DataError for a column that is not there."""
        absent = [column.name for column in self.columns if column.name not in columns]
        if absent:
            raise DataError(f"columns of the encoding are not in the rows: {', '.join(absent)}")
        rows = len(columns[self.columns[0].name]) if self.columns else 0
        encoded = np.zeros((rows, self.width))
        at = 0
        for column in self.columns:
            encoded[np.arange(rows), at + column.codes(columns[column.name])] = 1.0
            at += column.width
        encoded[:, -1] = 1.0
        return encoded

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps([asdict(column) for column in self.columns])

    @classmethod
    def from_json(cls, raw: str) -> "Encoding":
        """Read what `to_json` wrote. Raises DataError for anything else."""
        try:
            return cls(tuple(_column(column) for column in json.loads(raw)))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"no encoding: {error!r}") from error


def fit_encoding(
    columns: Mapping[str, NDArray[Any]],
    kinds: Mapping[str, Literal["numeric", "category"]],
    *,
    bins: int = BINS,
    levels: int = MOST_LEVELS,
) -> Encoding:
    """Choose bins and levels from (n,) arrays; many columns get fewer levels each."""
    most = levels
    while True:
        found = Encoding(
            tuple(_fit_column(n, kinds[n], columns[n], most, min(bins, most)) for n in kinds)
        )
        if found.width <= MOST_WIDTH or most <= 1:
            return found
        most //= 2


def _fit_column(
    name: str, kind: Literal["numeric", "category"], values: NDArray[Any], most: int, bins: int
) -> EncodedColumn:
    if kind == "category":
        levels, counts = np.unique(np.asarray(values, dtype=str), return_counts=True)
        order = np.lexsort((levels, -counts))[:most]
        return EncodedColumn(name, kind, levels=tuple(sorted(str(levels[i]) for i in order)))
    numbers = np.asarray(values, dtype=np.float64)
    present = numbers[np.isfinite(numbers)]
    if not len(present):
        return EncodedColumn(name, kind)
    edges = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1]))
    return EncodedColumn(name, kind, edges=tuple(edges.tolist()))


def _column(data: Mapping[str, Any]) -> EncodedColumn:
    return EncodedColumn(**{**data, "edges": tuple(data["edges"]), "levels": tuple(data["levels"])})
