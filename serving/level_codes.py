"""Categories that msgspec decodes to codes: no text is made of levels that the model knows.

msgspec looks the values of an enumeration up while it reads, and makes no text of them. The
members here have the levels as their values, and are themselves the bytes of the levels' places:
joined, they are the codes of a column.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Self

import numpy as np

from mlops_assets.domain.column_requests import CodedText
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.values import is_portable

# All levels are looked at for each request, so they should be fewer than its rows.
MOST_LEVELS = 1024
_CODE = np.dtype("<i2")


def _code(place: int) -> bytes:
    return place.to_bytes(_CODE.itemsize, "little", signed=True)


class _Place(bytes, Enum):
    """The code of a level as bytes; the value is the level."""

    def __new__(cls, level: str, place: int) -> Self:
        one = bytes.__new__(cls, _code(place))
        one._value_ = level
        return one


class LevelCodes:
    """The levels that a category is known to have; `type` is what msgspec decodes them to."""

    def __init__(self, levels: Sequence[str]) -> None:
        # mypy takes the call for one that looks a member up.
        enumeration: Any = _Place
        members = {f"level{place}": (level, place) for place, level in enumerate(levels)}
        self.type: Any = enumeration("Levels", members)
        self._levels = levels

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

    def column(self, members: Sequence[bytes | None]) -> CodedText:
        """The column of decoded members; None is a missing value."""
        try:
            codes = b"".join(members)  # type: ignore[arg-type]
        except TypeError:
            codes = b"".join(_code(-1) if one is None else one for one in members)
        return CodedText(np.frombuffer(codes, _CODE), self._levels)
