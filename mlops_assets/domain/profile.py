"""What a version's data looked like at its release: the reference that drift is measured against.

A profile keeps 1,001 quantiles per numeric column and the counts of a category's levels instead
of rows, so it is small, holds no single person's row and travels in the version's bundle.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.answer_columns import answer_columns
from mlops_assets.domain.contract import MISSING_CATEGORY, ContractColumn
from mlops_assets.domain.errors import DataError

QUANTILE_POINTS = 1001


@dataclass(frozen=True)
class ColumnProfile:
    """One column: `quantiles` of the present values (numeric), or `levels` with their counts.

    `rows` counts all rows, `missing` those without a value.
    """

    kind: Literal["numeric", "category"]
    rows: int
    missing: int
    quantiles: tuple[float, ...] = ()
    levels: dict[str, int] = field(default_factory=dict)

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing


@dataclass(frozen=True)
class Profile:
    """The profiles of a model's inputs and of its answers (domain.answer_columns)."""

    columns: dict[str, ColumnProfile]

    def to_json(self) -> bytes:
        """Serialise, with sorted keys so that equal profiles have equal bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, raw: bytes | str) -> "Profile":
        """Read what `to_json` wrote. Raises DataError for anything else."""
        try:
            columns = json.loads(raw)["columns"]
            return cls({name: _column_from_json(columns[name]) for name in columns})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"not a reference profile, write it again: {error!r}") from error


def _column_from_json(data: Mapping[str, Any]) -> ColumnProfile:
    return ColumnProfile(**{**data, "quantiles": tuple(data["quantiles"])})


def build(
    columns: Mapping[str, NDArray[Any]],
    contract_columns: Sequence[ContractColumn],
    outputs: NDArray[Any],
    classes: Sequence[str] = (),
) -> Profile:
    """Profile the rows of a release's holdout and the model's outputs on them.

    `columns` are (n,) arrays as a scorer takes them: float64 with NaN for missing, or text with
    MISSING_CATEGORY. Raises DataError for a column that is not there or has other rows.
    """
    answers = answer_columns(outputs, classes)
    profiles = {}
    for column in contract_columns:
        values = columns.get(column.name)
        if values is None or len(values) != len(outputs) or column.name in answers:
            raise DataError(
                f"column {column.name!r} cannot be profiled: it must be there once and have "
                f"{len(outputs)} rows, not {'none' if values is None else len(values)}"
            )
        profile = profile_levels if column.type == "category" else profile_numbers
        profiles[column.name] = profile(values)
    return Profile(profiles | {name: _profile_answer(answer) for name, answer in answers.items()})


def _profile_answer(values: NDArray[Any]) -> ColumnProfile:
    return profile_levels(values) if values.dtype == object else profile_numbers(values)


def profile_numbers(values: NDArray[Any]) -> ColumnProfile:
    """Profile a float array; a boolean is a number here."""
    numbers = np.asarray(values, dtype=np.float64)
    present = numbers[np.isfinite(numbers)]
    quantiles: tuple[float, ...] = ()
    if len(present):
        # Points that occurred: interpolated ones would give a count of seats fractions.
        points = np.linspace(0, 1, QUANTILE_POINTS)
        quantiles = tuple(np.quantile(present, points, method="inverted_cdf").tolist())
    return ColumnProfile("numeric", len(numbers), len(numbers) - len(present), quantiles)


def profile_levels(values: NDArray[Any]) -> ColumnProfile:
    """Profile an array of texts."""
    levels = Counter(np.asarray(values, dtype=object).tolist())
    missing = levels.pop(MISSING_CATEGORY, 0)
    return ColumnProfile("category", len(values), missing, levels=dict(levels))
