"""From a profiled table to a first spec: every choice with the reason that the user is told."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

import pandas as pd

from mlops_assets.domain import history
from mlops_assets.domain.contract import Task
from mlops_assets.domain.draft_choices import (
    Asked,
    Choice,
    choose_entity,
    choose_known_at,
    choose_task,
    label_wait,
    least_quality,
    told_of_levels,
)
from mlops_assets.domain.draft_columns import DraftColumn, draft_columns
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.labels import labels
from mlops_assets.domain.leaks import find_leaks
from mlops_assets.domain.periods import Every
from mlops_assets.domain.profiling import ColumnProfile, numeric_values, profile, profile_column

RESERVED = "a name that the lake uses itself: rename it in the source"
TWIN = "differs from {!r} only in case, which the lake does not tell apart: rename it in the source"


@dataclass(frozen=True)
class Draft:
    """All that a first spec says, and the choices behind it."""

    asked: Asked
    task: Task
    entity: str
    known_at: str
    every: Every
    start: date
    end: date | None
    columns: tuple[DraftColumn, ...]
    minimum: Mapping[str, float]
    wait: timedelta
    min_rows: int
    history: history.History
    choices: tuple[Choice, ...]

    @property
    def days_until_judged(self) -> int:
        """Whole days from a period's end until its labels are judged."""
        return max(1, self.wait // timedelta(days=1))

    def choice(self, about: str) -> Choice:
        """The choice about one part."""
        return next(choice for choice in self.choices if choice.about == about)


def draft(
    frame: pd.DataFrame,
    times: pd.Series,
    asked: Asked,
    now: datetime,
    is_reserved: Callable[[str], bool] = lambda name: False,
) -> Draft:
    """Decide on everything that a spec says.

    `frame` is a sample of the rows in order of time, `times` the event times of all rows (UTC);
    a column whose name `is_reserved` is left out.
    Raises DataError where the table cannot become a model, with what to change.
    """
    columns = profile(frame)
    _check_roles(columns, asked)
    task = choose_task(columns[asked.label], asked)
    entity = told_of_levels(choose_entity(frame, columns, asked), columns)
    known_at = choose_known_at(frame, columns, asked)
    truth = _truth(frame, asked, task.chosen, known_at)
    minimum, counted = least_quality(truth, task.chosen)
    usual = history.without_strays(times)
    cut = history.choose_period(usual) if asked.every == "auto" else None
    found = cut.history if cut else history.cut(usual, asked.every)  # type: ignore[arg-type]
    roles = {entity.chosen, asked.event_time, asked.label, known_at.chosen}
    # A copy of the entity is how a person makes an input of it.
    able = {
        n: replace(c, copy_of="") if c.copy_of == entity.chosen else c
        for n, c in columns.items()
        if n not in roles
    }
    inputs = _inputs(frame, able, asked, truth, task.chosen)
    inputs = tuple(
        replace(column, kept=False, reason=RESERVED) if is_reserved(column.name) else column
        for column in _without_twins(inputs, roles)
    )
    if not any(column.kept for column in inputs):
        raise DataError(
            "no column is left as an input: "
            + "; ".join(f"{column.name} ({column.reason})" for column in inputs)
        )
    end = _end(found, now)
    period = Choice("period.every", found.calendar.every, cut.reason if cut else "as asked")
    return Draft(
        asked=asked,
        task=task.chosen,  # type: ignore[arg-type]
        entity=entity.chosen,
        known_at=known_at.chosen if known_at.about == "label.known_at" else "",
        every=found.calendar.every,
        start=found.calendar.start,
        end=end,
        columns=inputs,
        minimum=minimum,
        wait=label_wait(frame, asked, known_at),
        min_rows=min(history.WANTED_ROWS, max(30, found.typical // 2)),
        history=found,
        choices=(
            *(task, entity, known_at, period, *_about_history(found, end)),
            *_about_strays(times, usual),
            counted,
        ),
    )


def _truth(frame: pd.DataFrame, asked: Asked, task: str, known_at: Choice) -> pd.Series:
    """The label of each row. Raises DataError where it cannot be made of the columns."""
    rows, time_column = frame, known_at.chosen if known_at.about == "label.known_at" else ""
    if time_column and profile_column(frame[time_column]).kind != "time":
        raise DataError(
            f"--known-at {time_column} holds no times: name a column of times, or --known-after."
        )
    if task == "regression" or asked.above is not None:
        numbers = numeric_values(frame[asked.label])
        if not numbers.notna().any():
            raise DataError(
                f"the label {asked.label!r} holds no numbers, which --task regression and --above "
                "need: name another column, or another task."
            )
        rows = frame.assign(**{asked.label: numbers})
    return labels(
        rows,
        task=task,  # type: ignore[arg-type]
        column=asked.label,
        above=asked.above,
        known_at=time_column,
        known_after=asked.known_after or timedelta(0),
        event_time=asked.event_time,
    )["label"]


def _inputs(
    frame: pd.DataFrame,
    columns: Mapping[str, ColumnProfile],
    asked: Asked,
    truth: pd.Series,
    task: str,
) -> tuple[DraftColumn, ...]:
    features = frame[list(columns)]
    leaks = find_leaks(features, frame[asked.label], truth, task)  # type: ignore[arg-type]
    return draft_columns(frame, columns, leaks, asked.event_time)


def _without_twins(inputs: Sequence[DraftColumn], roles: Collection[str]) -> Iterator[DraftColumn]:
    """The columns, of which those left out that differ from an earlier one only in case."""
    seen = {name.lower(): name for name in roles}
    for column in inputs:
        first = seen.get(column.name.lower())
        if column.kept and first is not None:
            yield replace(column, kept=False, reason=TWIN.format(first))
            continue
        if column.kept:
            seen[column.name.lower()] = column.name
        yield column


def _check_roles(columns: Mapping[str, ColumnProfile], asked: Asked) -> None:
    for option, name in (
        ("--time", asked.event_time),
        ("--label", asked.label),
        ("--entity", asked.entity),
        ("--known-at", asked.known_at),
    ):
        if name and name not in columns:
            raise DataError(
                f"{option} {name}: the source has no such column; it has {', '.join(columns)}."
            )
    if asked.label in (asked.event_time, asked.entity):
        raise DataError(
            f"--label {asked.label} already identifies the row: name the column with the truth."
        )
    label = columns[asked.label]
    if not label.present:
        raise DataError(f"the label {asked.label!r} is missing in every row: name another column.")
    if label.distinct < 2:
        raise DataError(
            f"the label {asked.label!r} has one value in all {label.present:,} rows: there is "
            "nothing to predict. Take a longer history, or another column."
        )


def _end(found: history.History, now: datetime) -> date | None:
    if not history.ended(found, now):
        return None
    end = found.last.end
    return end.date() if end.time() == time() else end.date() + timedelta(days=1)


def _about_strays(times: pd.Series, usual: pd.Series) -> list[Choice]:
    if len(usual) == len(times):
        return []
    strays = times[~times.index.isin(usual.index)]
    reason = f"{strays.min():%Y-%m-%d} to {strays.max():%Y-%m-%d}, far from all others: no times?"
    return [Choice("left aside", f"{len(strays):,} rows", reason, warns=True)]


def _about_history(found: history.History, end: date | None) -> list[Choice]:
    keys = list(found.rows)
    choices = [Choice("period.start", f"{found.calendar.start}", f"the first row is in {keys[0]}")]
    if end:
        reason = f"the newest row is in {keys[-1]}, long ago; remove `end` when new rows come"
        choices.append(Choice("period.end", f"{end}", reason))
    if len(keys) < history.LEAST_PERIODS:
        reason = "a first training needs 8, and reports some more: shorten --period or wait"
        choices.append(Choice("history", f"{len(keys)} periods", reason, warns=True))
    if found.empty:
        some = ", ".join(found.empty[:3]) + (" …" if len(found.empty) > 3 else "")
        reason = f"{some}: reports will show them as empty"
        choices.append(Choice("gaps", f"{len(found.empty)} periods", reason, warns=True))
    return choices
