"""What a first spec says about task, entity and label, each choice with its reason."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import DataError, NoKeyError
from mlops_assets.domain.labels import twin_classes
from mlops_assets.domain.periods import Every
from mlops_assets.domain.profiling import ColumnProfile, choose_key, delays, repeated_keys
from mlops_assets.domain.trainable import MOST_LEVELS

MOST_CLASSES = 50
# Whole numbers with at most so many values are taken for classes.
FEW_VALUES = 10
# Each level of an entity that a model could learn from is seen so often on average.
SEEN_AGAIN = 20
# The history is cut into so many stretches, where each has enough rows.
STRETCHES, LEAST_ROWS = 10, 100
# A time column that lies before the event in more rows than this doesn't tell when a label came.
EARLY_SHARE = 0.001


@dataclass(frozen=True)
class Asked:
    """What the user said; empty text and "auto" leave the choice to the data."""

    event_time: str
    label: str
    entity: str = ""
    every: Every | Literal["auto"] = "auto"
    task: Task | Literal["auto"] = "auto"
    above: float | None = None
    known_at: str = ""
    known_after: timedelta | None = None


@dataclass(frozen=True)
class Choice:
    """One decision: what about, what was chosen, and why; `warns` if a person should look."""

    about: str
    chosen: str
    reason: str
    warns: bool = False


def choose_task(label: ColumnProfile, asked: Asked) -> Choice:
    """The task that the label's values speak for. Raises DataError if there is none."""
    values = f"{label.distinct:,} different values"
    if asked.task == "binary" and asked.above is None and label.distinct > 2:
        above = "" if label.kind == "category" else "add --above VALUE, or "
        raise DataError(
            f"--task binary: the label {label.name!r} has {values}, and a binary label has two: "
            f"{above}name another task."
        )
    if asked.task != "auto":
        return Choice("task", asked.task, "as asked")
    if asked.above is not None:
        return Choice("task", "binary", f"the question is whether {label.name} exceeds a value")
    if label.distinct == 2:
        return Choice("task", "binary", f"{label.name} has two values")
    if label.kind == "category":
        if label.distinct > MOST_CLASSES:
            raise DataError(
                f"the label {label.name!r} is text with {values}: classes are at most "
                f"{MOST_CLASSES}. Group them in the source, or name a column of numbers."
            )
        return Choice("task", "multiclass", f"{label.name} is text with {values}")
    if label.kind == "integer" and label.distinct <= FEW_VALUES:
        reason = f"{label.name} has {values}; if they are amounts, use --task regression"
        return Choice("task", "multiclass", reason, warns=True)
    if label.kind in ("time", "other"):
        raise DataError(f"the label {label.name!r} holds no numbers or classes: name another.")
    return Choice("task", "regression", f"{label.name} has {values} of numbers")


def choose_entity(
    frame: pd.DataFrame, columns: Mapping[str, ColumnProfile], asked: Asked
) -> Choice:
    """Whom a row is about: as asked, or the best key. Raises NoKeyError if there is none."""
    if asked.entity:
        repeated = repeated_keys(frame, (asked.entity, asked.event_time))
        told = "as asked"
        if repeated:
            told += (
                f"; but {repeated:,} of {len(frame):,} rows repeat an earlier {asked.entity} and "
                f"{asked.event_time}: they will be rejected as duplicates"
            )
        return Choice("entity", asked.entity, told, warns=bool(repeated))
    others = {n: c for n, c in columns.items() if n not in (asked.label, asked.known_at)}
    key = choose_key(frame, others, asked.event_time)
    if not key.column:
        raise NoKeyError(
            f"no column tells the rows apart: {key.reason}. A model needs one, to join late labels "
            "to predictions and to see duplicates: add a row number or an id to the source, or "
            "name the nearest with --entity and have the repeats rejected."
        )
    return Choice("entity", key.column, key.reason)


def told_of_levels(entity: Choice, columns: Mapping[str, ColumnProfile]) -> Choice:
    """The choice, with a word on what a model would learn from an entity of few levels."""
    column = columns[entity.chosen]
    if column.kind not in ("category", "integer") or column.distinct > MOST_LEVELS:
        return entity
    if SEEN_AGAIN * column.distinct > column.rows:
        return entity
    name = entity.chosen
    reason = (
        f"{entity.reason}; an entity is no input: where a model shall learn from its "
        f"{column.distinct} levels, let a query repeat it (*, {name} AS {name}_level)"
    )
    return replace(entity, reason=reason, warns=True)


def choose_known_at(
    frame: pd.DataFrame, columns: Mapping[str, ColumnProfile], asked: Asked
) -> Choice:
    """The column, or the delay, that says when the label becomes known."""
    if asked.known_at:
        return Choice("label.known_at", asked.known_at, "as asked")
    if asked.known_after is not None:
        return Choice("label.known_after", _iso(asked.known_after), "as asked")
    labelled = frame[asked.label].notna()
    event = frame[asked.event_time]
    best: tuple[timedelta, str] | None = None
    for column in columns.values():
        series = frame[column.name]
        if column.kind != "time" or column.name in (asked.event_time, asked.entity):
            continue
        lag = delays(series, event)[labelled]
        covers = series[labelled].notna().all() and (lag < timedelta(0)).mean() <= EARLY_SHARE
        unknown = series[~labelled].isna().mean() if (~labelled).any() else 1.0
        median = _quantile(lag, 0.5)
        if covers and unknown >= 0.5 and median > timedelta(0) and (not best or median > best[0]):
            best = (median, column.name)
    if best:
        reason = f"after {asked.event_time} and never missing where there is a label"
        return Choice("label.known_at", best[1], f"{reason}; half come within {_told(best[0])}")
    return Choice(
        "label.known_after",
        "PT0S",
        "no column tells when the label is known, so it counts as known at once: set the real "
        "delay, or training uses labels that are not there yet",
        warns=True,
    )


def least_quality(truth: pd.Series, task: str) -> tuple[dict[str, float], Choice]:
    """The loss of always answering the same, which a model must beat to be released.

    Of classes it is that of the tenth of the history in which it is highest: where their shares
    move, a good model loses more there than the shares do on average.
    """
    missing = f"; {truth.isna().mean():.1%} of the rows have none" if truth.isna().any() else ""
    known = truth.dropna()
    if task == "regression":
        told = f"{known.min():g} to {known.max():g}, mean {known.mean():.4g}{missing}"
        return {"r2": 0.0}, Choice("label", "values", told)
    shares = known.value_counts(normalize=True)
    twins = twin_classes(map(str, shares.index))
    if twins:
        raise DataError(
            f"the classes {twins[0]!r} and {twins[1]!r} of the label differ only in case: make one "
            "of them in the source, or with a query."
        )
    if len(shares) < 2:
        raise DataError(
            f"the label has one class, {shares.index[0]!r}, in all {len(known):,} rows: there is "
            "nothing to predict. Take a longer history, another column, or another --above."
        )
    costs = -known.map(shares).astype("float64").map(math.log)
    parts = STRETCHES if len(costs) >= STRETCHES * LEAST_ROWS else 1
    worst = max(costs.iloc[rows].mean() for rows in np.array_split(np.arange(len(costs)), parts))
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.head(6).items())
    rare = shares.iloc[-1] * len(known) < FEW_VALUES
    limit = {"log_loss": math.ceil(worst * 1e4) / 1e4}
    return limit, Choice("label", f"{len(shares)} classes", told + missing, warns=bool(rare))


def label_wait(frame: pd.DataFrame, asked: Asked, known: Choice) -> timedelta:
    """How long after a period's end nearly all labels are known."""
    lag = asked.known_after or timedelta(0)
    if known.about == "label.known_at":
        lag = _quantile(delays(frame[known.chosen], frame[asked.event_time]), 0.99)
    return timedelta(days=max(1, math.ceil(lag / timedelta(days=1))))


def _quantile(delays: pd.Series, quantile: float) -> timedelta:
    """A quantile of delays; zero where there is none."""
    found = delays.dropna().dt.total_seconds()
    return timedelta(seconds=float(found.quantile(quantile))) if len(found) else timedelta(0)


def _told(delay: timedelta) -> str:
    hours = delay.total_seconds() / 3600
    return f"{hours / 24:.3g} days" if hours >= 48 else f"{hours:.3g} hours"


def _iso(delay: timedelta) -> str:
    """ISO 8601 in the largest unit that fits, as a person would write it."""
    seconds = int(delay.total_seconds())
    for unit, text in ((86_400, "P{}D"), (3_600, "PT{}H"), (60, "PT{}M")):
        if seconds % unit == 0:
            return text.format(seconds // unit)
    return f"PT{seconds}S"
