"""Categories that msgspec decodes to codes: no text is made of levels that the model knows.

msgspec looks the values of an enumeration up while it reads, and makes no text of them. The
members here have the levels as their values, and are themselves the levels' places as floats: so
numbers and categories of a row are packed together.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Self

import numpy as np

from mlops_assets.domain.coded import Coded
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.values import is_portable

# All levels are looked at for each request, so they should be fewer than its rows.
MOST_LEVELS = 1024
_CODE = np.dtype("<i2")


class _Place(float, Enum):
    """The place of a level; the value is the level."""

    def __new__(cls, level: str, place: int) -> Self:
        one = float.__new__(cls, place)
        one._value_ = level
        return one


class LevelCodes:
    """The `levels` that a category is known to have; `type` is what msgspec decodes them to."""

    def __init__(self, levels: Sequence[str]) -> None:
        # mypy takes the call for one that looks a member up.
        enumeration: Any = _Place
        members = {f"level{place}": (level, place) for place, level in enumerate(levels)}
        self.type: Any = enumeration("Levels", members)
        # The same tuples for all requests: what depends on the levels need not be found again.
        self.levels = tuple(levels)
        self._or_missing = (*levels, MISSING_CATEGORY)

    @classmethod
    def of(cls, levels: Iterable[str]) -> "LevelCodes | None":
        """Codes for these levels, or None where texts should be looked at.

        That is where they are too many, where one is no valid value, and where one has a colon:
        `serving.bulk` counts those of the texts.
        """
        known = sorted(set(levels) - {MISSING_CATEGORY})
        text = "".join(known)
        if not known or len(known) > MOST_LEVELS or ":" in text or not is_portable(text):
            return None
        return cls(known)

    def column(self, places: np.ndarray, new: tuple[str, ...] = ()) -> Coded:
        """The column of places of shape (n,), float64, in the levels and behind them in `new`.

        NaN is a missing value.
        """
        levels = (*self.levels, *new) if new else self.levels
        is_missing = np.isnan(places)
        if not is_missing.any():
            return Coded(places.astype(_CODE), levels)
        places = np.where(is_missing, len(levels), places)
        or_missing = (*levels, MISSING_CATEGORY) if new else self._or_missing
        return Coded(places.astype(_CODE), or_missing)
