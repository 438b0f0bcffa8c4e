"""What a table's columns hold: types, ranges, levels, missing values, copies, keys.

Facts only; what follows from them for a model is decided in `drafting`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["number", "integer", "boolean", "category", "time", "other"]
# So many of a category's levels are remembered, the most frequent first.
REMEMBERED_LEVELS = 50
# A text column whose values are numbers this often is a column of numbers with bad values.
NUMERIC_SHARE = 0.9
# Without a value in so many of the first or the last rows, a column began late or has ended.
EMPTY_SHARE = 0.1
# Text of so many words on average is prose, no name of anything.
FREE_TEXT_WORDS = 3


@dataclass(frozen=True)
class ColumnProfile:
    """One column: `low` and `high` of its numbers, `levels` of its categories.

    In a text column of numbers, `levels` are the texts that are none.
    `numeric_text` is the share of a text column's values that are numbers; `words` and
    `characters` are means of a text value; `settled` says whether all levels of a category occur
    in the first half of the rows. `first` and `last` are the places of its first and last value.
    """

    name: str
    kind: Kind
    rows: int
    missing: int
    distinct: int
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    settled: bool = False
    numeric_text: float = 0.0
    words: float = 0.0
    characters: float = 0.0
    copy_of: str = ""
    infinite: int = 0
    first: int = 0
    last: int = 0

    @property
    def missing_share(self) -> float:
        """Share of missing values; 0 for no rows."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def is_late(self) -> bool:
        """Whether the earlier rows have no value."""
        return self.first > EMPTY_SHARE * self.rows

    @property
    def has_ended(self) -> bool:
        """Whether the later rows have no value."""
        return bool(self.present) and self.rows - 1 - self.last > EMPTY_SHARE * self.rows

    @property
    def present(self) -> int:
        """Values that are there."""
        return self.rows - self.missing

    @property
    def is_mixed(self) -> bool:
        """Whether text stands among its numbers."""
        return 0 < self.numeric_text < 1 and self.numeric_text >= 0.5


def profile(frame: pd.DataFrame) -> dict[str, ColumnProfile]:
    """The profile of every column of `frame`, whose rows are in order of time."""
    copies = _copies(frame)
    return {
        str(name): profile_column(frame[name], copies.get(str(name), "")) for name in frame.columns
    }


def profile_column(series: pd.Series, copy_of: str = "") -> ColumnProfile:
    """The profile of one column."""
    kind, present = _kind(series), series.dropna()
    first, last = _first_and_last(series)
    found = ColumnProfile(
        name=str(series.name),
        kind=kind,
        rows=len(series),
        missing=len(series) - len(present),
        distinct=0 if kind == "other" else int(present.nunique()),
        copy_of=copy_of,
        first=first,
        last=last,
    )
    if kind == "category":
        return _of_text(found, present)
    if kind in ("number", "integer"):
        low, high = _bounds(present)
        infinite = int(np.isinf(present).sum()) if kind == "number" else 0
        return replace(found, low=low, high=high, infinite=infinite)
    return found


def _first_and_last(series: pd.Series) -> tuple[int, int]:
    """Places of the first and the last value; zeros where there is none."""
    there = np.flatnonzero(series.notna().to_numpy())
    return (int(there[0]), int(there[-1])) if len(there) else (0, 0)


def _of_text(found: ColumnProfile, present: pd.Series) -> ColumnProfile:
    """A text column: numbers stored as text, or levels."""
    numbers = numeric_values(present)
    share = float(numbers.notna().mean()) if len(present) else 0.0
    if share >= NUMERIC_SHARE:
        low, high = _bounds(numbers)
        odd = present[numbers.isna()].value_counts().index[:REMEMBERED_LEVELS]
        return replace(
            found,
            kind="integer" if (numbers.dropna() % 1 == 0).all() else "number",
            low=low,
            high=high,
            levels=tuple(map(str, odd)),
            numeric_text=share,
        )
    text = present.astype(str)
    early = text.iloc[: len(text) // 2].nunique()
    return replace(
        found,
        levels=tuple(map(str, text.value_counts().index[:REMEMBERED_LEVELS])),
        settled=found.distinct <= REMEMBERED_LEVELS and early == found.distinct,
        numeric_text=share,
        words=float(text.str.count(r"\S+").mean()) if len(text) else 0.0,
        characters=float(text.str.len().mean()) if len(text) else 0.0,
    )


def numeric_values(series: pd.Series) -> pd.Series:
    """The values as float64, NaN where they are missing or no finite number."""
    numbers = pd.to_numeric(series, errors="coerce").astype("Float64").astype("float64")
    return numbers.where(np.isfinite(numbers))


def delays(times: pd.Series, event: pd.Series) -> pd.Series:
    """How long after the event (UTC) the times are; a date counts from the event's midnight."""
    since = event if times.dtype.kind == "M" else event.dt.floor("D")
    return pd.to_datetime(times, errors="coerce", utc=True) - since


def repeated_keys(frame: pd.DataFrame, keys: Sequence[str]) -> int:
    """How many rows have the key of an earlier row."""
    return int(frame[list(dict.fromkeys(keys))].duplicated().sum())


@dataclass(frozen=True)
class KeyChoice:
    """The column that tells the rows of one moment apart, and why it was chosen.

    `column` is empty if there is none; `reason` then says what comes closest.
    """

    column: str
    reason: str


def choose_key(
    frame: pd.DataFrame, columns: Mapping[str, ColumnProfile], event_time: str
) -> KeyChoice:
    """The best entity: unique by itself, or together with the event time.

    A column named like an id goes first, then text, then whole numbers; measurements never.
    """
    rows = len(frame)
    able = [
        column
        for column in columns.values()
        if column.kind in ("category", "integer")
        and not column.missing
        and column.distinct > 1
        and column.words < FREE_TEXT_WORDS
    ]
    able.sort(key=lambda c: (not named_like_id(c.name), c.kind != "category", -c.distinct))
    repeats = {column.name: repeated_keys(frame, (column.name, event_time)) for column in able}
    for is_named in (True, False):
        some = [column for column in able if named_like_id(column.name) == is_named]
        for column in some:
            if column.distinct == rows and (is_named or column.kind == "category"):
                return KeyChoice(column.name, f"its {rows:,} values are unique")
        for column in some:
            if is_named and not repeats[column.name]:
                reason = f"{column.distinct:,} subjects; unique together with {event_time}"
                return KeyChoice(column.name, reason)
    if not repeated_keys(frame, (event_time,)):
        return KeyChoice(event_time, "every row has a time of its own, and no column is an id")
    for name, repeated in repeats.items():
        if not repeated:
            return KeyChoice(name, f"unique together with {event_time}")
    if not repeats:
        return KeyChoice("", f"{repeated_keys(frame, (event_time,)):,} rows share their time")
    closest = min(repeats, key=lambda name: repeats[name])
    return KeyChoice(
        "",
        f"the closest is {closest!r}, with which {repeats[closest]:,} of {rows:,} rows still have "
        f"the same {closest} and {event_time} as an earlier one",
    )


def named_like_id(name: str) -> bool:
    """Whether the name says that the column identifies something."""
    parts = re.split(r"[\s_.-]+", name.strip().lower())
    return parts[-1] in ("id", "key", "uuid", "guid", "no", "nr") or name.endswith(("Id", "ID"))


def _kind(series: pd.Series) -> Kind:
    kind = series.dtype.kind
    if kind == "M":
        return "time"
    if kind == "b":
        return "boolean"
    if kind in "iu":
        return "integer"
    if kind == "f":
        return "number"
    types = set(map(type, series.dropna().head(1000)))
    if not types or types <= {str}:
        return "category"
    if all(issubclass(found, date) for found in types):
        return "time"
    return "other"


def _bounds(values: pd.Series) -> tuple[float | None, float | None]:
    numbers = numeric_values(values).dropna()
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)


def _copies(frame: pd.DataFrame) -> dict[str, str]:
    """Columns whose values all equal those of an earlier column, by name."""
    seen: dict[int, list[str]] = {}
    copies: dict[str, str] = {}
    for name in frame.columns:
        series = frame[name]
        if _kind(series) == "other" or series.isna().all():
            continue
        digest = int(pd.util.hash_pandas_object(series, index=False).sum())
        for earlier in seen.setdefault(digest, []):
            if series.equals(frame[earlier]):
                copies[str(name)] = earlier
                break
        else:
            seen[digest].append(str(name))
    return copies
