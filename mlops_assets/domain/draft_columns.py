"""Which columns become inputs, with which contract, and why the others do not."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from mlops_assets.domain.contract import ColumnType
from mlops_assets.domain.leaks import Leak
from mlops_assets.domain.profiling import (
    FREE_TEXT_WORDS,
    ColumnProfile,
    delays,
    named_like_id,
    numeric_values,
)
from mlops_assets.domain.trainable import MOST_LEVELS
from mlops_assets.domain.written_values import are_dressed_numbers

# Up to so many levels are listed; a new one is then rejected.
LISTED_LEVELS = 12
ID_SHARE = 0.95
FREE_TEXT_SHARE = 0.5
LEAST_ROWS = 50
# Texts among numbers are rejected, and so many rejected rows refuse a period.
MOST_ODD_TEXTS = 0.01
# A least value below this share of the greatest is near zero.
NEAR_ZERO = 0.1
# Below this, rounding to two digits leaves what floats can hold.
TINIEST = 1e-300
# Numbers travel as float64, which holds every whole number up to here and no further.
LARGEST_INTEGER = 2**53
# A time after the event in more rows than this is known only afterwards.
LATE_SHARE = 0.01
# A column whose ranks agree with those of the event time as much as this only counts time.
CLOCK = 0.99
ENOUGH_ROWS = 20_000


_EARLIER = "a time: put what matters of it (an age, a weekday) into a column of numbers"


@dataclass(frozen=True)
class DraftColumn:
    """A column of the table: what it would be as an input, whether it is one, and why.

    `is_earlier` says of one with times that they lie before the row's own: how long before may be
    an input.
    """

    name: str
    kept: bool
    reason: str
    type: ColumnType = "number"
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] = ()
    warns: bool = False
    is_earlier: bool = False


def draft_columns(
    frame: pd.DataFrame,
    columns: Mapping[str, ColumnProfile],
    leaks: Mapping[str, Leak],
    event_time: str,
) -> tuple[DraftColumn, ...]:
    """Decide on each of `columns`, in the table's order."""
    found = []
    for name, column in columns.items():
        refusal = _unusable(frame, column, event_time)
        leak = leaks.get(name)
        if refusal:
            is_earlier = refusal == _EARLIER
            found.append(
                DraftColumn(name, False, refusal, type=_type(column), is_earlier=is_earlier)
            )
        elif leak and leak.certain:
            found.append(_input(column, kept=False, reason=f"suspected leak: {leak.reason}"))
        elif leak:
            told = f"{_told(column)}; look at it: {leak.reason}"
            found.append(_input(column, kept=True, reason=told, warns=True))
        else:
            found.append(_input(column, kept=True, reason=_told(column)))
    return tuple(found)


def slack(low: float, high: float) -> tuple[float, float]:
    """Bounds around what was seen: the whole range again on both sides, rounded outwards.

    Wide enough for next year's values, too narrow for another unit or a 9999 that means missing.
    Amounts that begin near zero, and were never negative, stay so.
    """
    room = high - low or abs(high) or 1.0
    least, most = _outwards(low - room, math.floor), _outwards(high + room, math.ceil)
    if 0 <= low <= max(NEAR_ZERO * high, 1.0):
        least = 0.0
    if min(NEAR_ZERO * low, -1.0) <= high <= 0:
        most = 0.0
    return least, most


def _outwards(value: float, to_whole: Callable[[float], int]) -> float:
    if abs(value) < TINIEST:
        return math.copysign(TINIEST, value) if value else 0.0
    digits = math.floor(math.log10(abs(value))) - 1
    scaled = to_whole(round(value / 10.0**digits, 9))
    return float(scaled * 10**digits if digits >= 0 else scaled / 10**-digits)


def _unusable(frame: pd.DataFrame, column: ColumnProfile, event_time: str) -> str:
    """Why the column cannot be an input; empty if it can."""
    if column.kind == "other":
        return "holds neither numbers nor text: flatten it in the source"
    if not column.present:
        return "missing in every row"
    if column.distinct == 1 and not column.missing:
        return "the same in every row"
    if column.copy_of:
        return f"the same as {column.copy_of}"
    if column.kind == "time":
        return _time(frame, column, event_time)
    if column.is_late:
        since = frame[event_time].iloc[column.first]
        return f"no value before {since:%Y-%m-%d}: take it in when trainings begin later than that"
    if column.has_ended:
        until = frame[event_time].iloc[column.last]
        return f"no value after {until:%Y-%m-%d}: does the source still fill it?"
    if column.is_mixed and (1 - column.numeric_text) * column.present / column.rows > (
        MOST_ODD_TEXTS
    ):
        odd = f"{1 - column.numeric_text:.1%} are text"
        odd += f" such as {column.levels[0]!r}" if column.numeric_text >= 0.9 else ""
        return f"mixes numbers and text ({odd}): clean it in the source, or declare a category"
    if column.infinite > MOST_ODD_TEXTS * column.rows:
        return f"{column.infinite:,} values are infinite: clean it in the source"
    if column.kind == "integer" and _beyond_floats(column):
        return "whole numbers beyond 2^53, which no model tells apart: an id?"
    if column.distinct > LISTED_LEVELS and are_dressed_numbers(column.levels):
        return (
            f"numbers written with signs, such as {column.levels[0]!r}: make bare numbers of them "
            "in the source, or with a query"
        )
    return _identifier(column) or _clock(frame, column, event_time)


def _clock(frame: pd.DataFrame, column: ColumnProfile, event_time: str) -> str:
    """Whether a column of numbers only says when the row was."""
    if column.kind not in ("number", "integer") or column.present < LEAST_ROWS:
        return ""
    step = max(1, column.rows // ENOUGH_ROWS)
    numbers = numeric_values(frame[column.name][::step])
    times = frame[event_time][::step].astype("int64").where(numbers.notna())
    if numbers.nunique() < 2 or times.nunique() < 2:
        return ""
    if abs(numbers.rank().corr(times.rank())) < CLOCK:
        return ""
    return f"goes with {event_time}: what it says of one period, it never says again"


def _beyond_floats(column: ColumnProfile) -> bool:
    return max(abs(column.low or 0), abs(column.high or 0)) > LARGEST_INTEGER


def _identifier(column: ColumnProfile) -> str:
    counted = f"{column.distinct:,} distinct values in {column.rows:,} rows"
    if column.present < LEAST_ROWS or column.kind in ("number", "boolean"):
        return ""
    unique = column.distinct >= ID_SHARE * column.present
    if column.kind == "integer" and column.low is not None and column.high is not None:
        dense = column.high - column.low + 1 <= 3 * column.distinct
        many = column.distinct > MOST_LEVELS
        return (
            f"looks like an id, {counted}"
            if (unique and dense) or (named_like_id(column.name) and (unique or many))
            else ""
        )
    if column.distinct > FREE_TEXT_SHARE * column.present and column.words >= FREE_TEXT_WORDS:
        return f"free text, {column.characters:.0f} characters on average"
    if unique:
        return f"looks like an id, {counted}"
    if column.distinct > MOST_LEVELS:
        return (
            f"{column.distinct:,} levels are too many: group the rare ones, with a derived column "
            "of kind frequent"
        )
    return ""


def _time(frame: pd.DataFrame, column: ColumnProfile, event_time: str) -> str:
    lag = delays(frame[column.name], frame[event_time])
    late = float((lag > pd.Timedelta(0)).sum() / column.present)
    if late > LATE_SHARE:
        return f"known only afterwards: after {event_time} in {late:.0%} of the rows"
    return _EARLIER


def _type(column: ColumnProfile) -> ColumnType:
    if column.kind == "integer" and not named_like_id(column.name):
        return "integer"
    if column.kind == "number" or column.kind == "boolean":
        return column.kind
    return "category"


def _input(column: ColumnProfile, *, kept: bool, reason: str, warns: bool = False) -> DraftColumn:
    kind = _type(column)
    low: float | None = None
    high: float | None = None
    if kind in ("number", "integer") and column.low is not None and column.high is not None:
        low, high = slack(column.low, column.high)
    if kind == "integer" and low is not None and high is not None:
        low, high = float(math.floor(low)), float(math.ceil(high))
    listed = kind == "category" and column.settled and column.distinct <= LISTED_LEVELS
    return DraftColumn(
        name=column.name,
        kept=kept,
        reason=reason,
        type=kind,
        nullable=column.missing > 0,
        min=low,
        max=high,
        categories=tuple(sorted(column.levels)) if listed else (),
        warns=warns or (kept and column.is_mixed),
    )


def _told(column: ColumnProfile) -> str:
    parts = []
    if _type(column) == "category":
        parts.append(f"{column.distinct:,} levels")
    elif column.low is not None and column.high is not None:
        parts.append(f"seen {column.low:g} to {column.high:g}")
    if column.missing:
        few = column.missing_share < 0.0005
        parts.append(f"{'< 0.1%' if few else f'{column.missing_share:.1%}'} missing")
    if column.infinite:
        parts.append(f"{column.infinite:,} infinite values will be rejected")
    if column.is_mixed:
        odd = (1 - column.numeric_text) * column.present
        parts.append(f"{odd:,.0f} texts such as {column.levels[0]!r} will be rejected")
    return ", ".join(parts)
