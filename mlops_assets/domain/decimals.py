"""Numbers of few decimal places as whole numbers, where these give back each bit.

Most inputs are amounts, counts or readings of two to four places: as float64 they take up to four
times the room of their digits.
"""

from dataclasses import dataclass

import numpy as np

# The powers are exact in float64, and so is a whole number of 32 bits: their quotient is rounded
# once, as the decimal text of the number was.
POWERS = {places: 10.0**places for places in range(7)}
SHORT, LONG = np.dtype("<i2"), np.dtype("<i4")
# Of so many rows, the first ones tell how many places a column has.
LOOKED_AT = 16


@dataclass(frozen=True, eq=False)
class Decimals:
    """A column of numbers: `whole / 10 ** places`, `whole` of shape (n,), SHORT or LONG.

    Raises KeyError for places that POWERS does not have.
    """

    whole: np.ndarray
    places: int

    def numbers(self) -> np.ndarray:
        """The column as float64."""
        found: np.ndarray = self.whole / POWERS[self.places]
        return found


def decimals_of(columns: np.ndarray) -> "list[Decimals | None]":
    """Each row of float64 of shape (columns, n), or None where a value would change a bit.

    That is so for values of more places or digits, for missing ones and for negative zero.
    """
    powers = np.array(list(POWERS.values()))
    first = columns[:, :LOOKED_AT]
    # What does not fit becomes some other number, which the comparison finds.
    with np.errstate(over="ignore", invalid="ignore"):
        fits = _are_same(_whole(first, powers[:, None, None]), powers[:, None, None], first)
        if not fits.any():
            return [None] * len(columns)
        places = fits.argmax(axis=0)
        scales = powers[places][:, None]
        whole = _whole(columns, scales)
        are_decimals = _are_same(whole, scales, columns).tolist()
    limits = np.iinfo(SHORT)
    are_short = (whole.min(axis=1) >= limits.min) & (whole.max(axis=1) <= limits.max)
    return [
        Decimals(one.astype(SHORT) if is_short else one, place) if is_decimal else None
        for one, place, is_decimal, is_short in zip(
            whole, places.tolist(), are_decimals, are_short.tolist(), strict=True
        )
    ]


def _whole(numbers: np.ndarray, scales: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = numbers * scales
    np.rint(scaled, out=scaled)
    whole: np.ndarray = scaled.astype(LONG)
    return whole


def _are_same(whole: np.ndarray, scales: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Of each column, whether all numbers come back bit by bit."""
    same: np.ndarray = ((whole / scales).view(np.int64) == numbers.view(np.int64)).all(axis=-1)
    return same
