"""What is found out about a spec and its rows, and the rows that it is found out from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import pandas as pd

from mlops_assets.domain.labels import labels
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.spec.source import unencrypted

Level = Literal["problem", "warning", "note"]
Place = tuple[str | int, ...]
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing to know: `problem`s must be corrected, `warning`s looked at, `note`s are facts."""

    code: str
    level: Level
    place: Place
    message: str


@dataclass(frozen=True)
class Table:
    """A model's rows: `frame` a sample or all of them in order of time, `times` of all rows."""

    model: Model
    frame: pd.DataFrame
    times: pd.Series
    now: datetime

    @property
    def read(self) -> "Table":
        """Without the rows of before the first period and after the last, which are never read."""
        first, stop = self.model.calendar.first, self.model.calendar.stop

        def inside(times: pd.Series) -> pd.Series:
            return (times >= first) & (times < stop) if stop else times >= first

        frame = self.frame[inside(self.frame[self.model.spec.event_time])]
        return replace(self, frame=frame, times=self.times[inside(self.times)])

    @property
    def labels(self) -> pd.DataFrame:
        """`label` and `label_known_at` of each row of the frame."""
        spec = self.model.spec
        return labels(
            self.frame,
            task=spec.task,
            column=spec.label.column,
            above=spec.label.above,
            known_at=spec.label.known_at,
            known_after=spec.label.known_after,
            event_time=spec.event_time,
        )


def source_findings(spec: ModelSpec) -> Iterator[Finding]:
    """What to know about a source before its rows are looked at."""
    found = unencrypted(spec.source)
    if found:
        field, message = found
        yield Finding("unencrypted", "warning", ("source", field), message)


def share(count: int, total: int) -> str:
    """Rows of all rows, with the percentage."""
    return f"{count:,} of {total:,} rows ({count / total:.2%})"


def some(periods: "list[str] | tuple[str, ...]") -> str:
    """The first few periods, and how many there are besides."""
    more = f" and {len(periods) - SHOWN} more" if len(periods) > SHOWN else ""
    return ", ".join(periods[:SHOWN]) + more
