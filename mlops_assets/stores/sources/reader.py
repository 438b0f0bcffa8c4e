"""What every kind of source can do."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from mlops_assets.domain.errors import SourceError


class Reader(Protocol):
    """One source, opened for reading. All methods raise SourceError."""

    def column_names(self) -> tuple[str, ...]:
        """The columns that the source has now."""

    def read(
        self, columns: Sequence[str], event_time: str, start: datetime, end: datetime
    ) -> pa.Table:
        """Rows with `start` <= event time < `end`, with these columns, in any order."""

    def timeless(self, event_time: str) -> int | None:
        """How many rows have no event time; None where the source cannot tell."""

    def newest(self, event_time: str, until: datetime) -> datetime | None:
        """The newest event time before `until`, in UTC; None if there is none."""


def require(columns: Collection[str], found: Collection[str], name: str) -> None:
    """Raise SourceError if the source called `name` lacks one of the columns."""
    for column in columns:
        if column not in found:
            raise SourceError(
                f"{name} has no column {column!r}; it has {', '.join(found)}. Correct the name in "
                "defs.yaml."
            )
