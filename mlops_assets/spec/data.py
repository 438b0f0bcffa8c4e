"""What a table says about a spec: everything that would go wrong with these rows, at once.

Pure: the rows, their times and the time of day come in, findings come out. Each names its place
in the defs.yaml, as the problems of `spec_rules` do.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.history import cut
from mlops_assets.domain.labels import KNOWN_AT, LABEL
from mlops_assets.domain.leaks import find_leaks
from mlops_assets.domain.profiling import ColumnProfile, profile
from mlops_assets.domain.trainable import MOST_LEVELS
from mlops_assets.domain.validation import REASONS, validate
from mlops_assets.spec.findings import Finding, Place, Table, share, some
from mlops_assets.spec.labels import label_times, label_types, label_values

# Seconds or milliseconds taken for a smaller unit are times of the first weeks of 1970.
EPOCH = (datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 2, 15, tzinfo=UTC))
# An event time before this, with a long gap after it, stands for a missing one.
OLDEST = datetime(1980, 1, 1, tzinfo=UTC)
LONG_GAP = timedelta(days=5 * 365)


def findings(table: Table) -> tuple[Finding, ...]:
    """Everything that these rows say about the spec, in the order of its sections."""
    if not len(table.times):
        return (Finding("no_rows", "problem", ("source",), "the source has no row with a time"),)
    told, read = tuple(_times(table)), table.read
    if not len(read.frame):
        return told
    broken = tuple(label_types(read))
    rules: tuple[Callable[[Table], Iterator[Finding]], ...] = (_columns, _contract)
    if not broken:
        rules = (*rules, label_values, label_times, _leaks, _history)
    return (*broken, *told, *(found for rule in rules for found in rule(read)))


def _times(table: Table) -> Iterator[Finding]:
    times, calendar = table.times, table.model.calendar
    place: Place = ("event_time",)
    name = repr(table.model.spec.event_time)
    future = int((times > table.now).sum())
    if future:
        yield Finding(
            "future_time",
            "problem" if future > len(times) / 2 else "warning",
            place,
            f"{share(future, len(times))} have an event time after now, up to "
            f"{times.iloc[-1]:%Y-%m-%d %H:%M}: they wait for their period to end. Is {name} when "
            "the event was?",
        )
    yield from _old_times(table)
    before = int((times < calendar.first).sum())
    if before:
        yield Finding(
            "before_start",
            "problem" if before == len(times) else "warning",
            ("period", "start"),
            f"{share(before, len(times))} are older than the first period and never read; the "
            f"oldest is of {times.iloc[0]:%Y-%m-%d}",
        )
    after = int((times >= calendar.stop).sum()) if calendar.stop else 0
    if after:
        yield Finding(
            "after_end",
            "problem" if after == len(times) else "warning",
            ("period", "end"),
            f"{share(after, len(times))} are after the history's end and never read; the newest "
            f"is of {times.iloc[-1]:%Y-%m-%d}",
        )


def _old_times(table: Table) -> Iterator[Finding]:
    """Times that are rather a number in another unit, or stand for a missing one.

    A history of the seventies is none: it goes on into the time after.
    """
    times, name = table.times, repr(table.model.spec.event_time)
    epoch = int(times.between(*EPOCH).sum())
    old = times[times < OLDEST]
    newer = times[times >= OLDEST]
    if epoch > len(times) / 2:
        level, count = "problem", epoch
        told = f"in the first weeks of 1970, from {times.iloc[0]:%Y-%m-%d %H:%M}"
    elif len(old) and len(newer) and newer.iloc[0] - old.iloc[-1] > LONG_GAP:
        level, count = "warning", len(old)
        told = (
            f"before 1980, from {times.iloc[0]:%Y-%m-%d %H:%M}, and then none for "
            f"{(newer.iloc[0] - old.iloc[-1]).days // 365} years"
        )
    else:
        return
    yield Finding(
        "old_time",
        level,  # type: ignore[arg-type]
        ("event_time",),
        f"{share(count, len(times))} have an event time {told}: is {name} a time, in the right "
        "unit?",
    )


def _columns(table: Table) -> Iterator[Finding]:
    spec = table.model.spec
    linear = [
        c.estimator
        for c in spec.training.candidates
        if c.estimator in ("logistic_regression", "ridge")
    ]
    replaced = {name for rule in spec.derived if rule.replaces for name in rule.columns}
    for name, column in profile(table.frame[list(spec.columns)]).items():
        place: Place = ("columns", name)
        yield from _worthless(column, place)
        if column.present and column.is_late:
            since = table.frame[spec.event_time].iloc[column.first]
            yield Finding(
                "late_column",
                "warning",
                place,
                f"{name!r} has no value before {since:%Y-%m-%d}: a training on earlier rows alone "
                "fails. Remove it, or let the history (period.start) begin there",
            )
        seen = spec.columns[name].type == "category" and name not in replaced
        if seen and column.distinct > MOST_LEVELS:
            yield Finding(
                "many_levels",
                "problem" if linear else "warning",
                place,
                f"{name!r} has {column.distinct:,} levels in {column.rows:,} rows"
                + (f", too many for {linear[0]}" if linear else "")
                + f" (at most {MOST_LEVELS}): group the rare ones with a derived column of kind "
                "frequent, or remove it",
            )


def _worthless(column: ColumnProfile, place: Place) -> Iterator[Finding]:
    if not column.present:
        message = f"{column.name!r} is missing in every row: remove it, or correct the source"
        yield Finding("all_missing", "problem", place, message)
    elif column.distinct == 1 and not column.missing:
        message = f"{column.name!r} is the same in every row: it teaches nothing"
        yield Finding("constant", "warning", place, message)
    elif column.copy_of:
        message = f"{column.name!r} is the same as {column.copy_of!r}: one of them is enough"
        yield Finding("copy", "warning", place, message)


def _contract(table: Table) -> Iterator[Finding]:
    """Rows that validated_data would reject, by what they fail on, and periods it would refuse."""
    spec, frame = table.model.spec, table.frame
    limit = spec.validation.max_rejected_share
    try:
        result = validate(frame, spec.rows_contract())
    except DataError as error:
        yield Finding("rule", "problem", ("validation", "checks"), str(error))
        return
    texts = result.rejected[REASONS]
    for reason, count in sorted(result.failures.items(), key=lambda item: -item[1]):
        example = _example(texts, reason)
        yield Finding(
            {"key": "duplicate_keys", spec.label.known_at: "early_label"}.get(reason, "rejected"),
            "problem" if count > limit * len(frame) else "warning",
            _place_of(table, reason),
            f"{share(count, len(frame))} would be rejected: {example}"
            + (f". A row's key is {spec.entity} and {spec.event_time}" if reason == "key" else ""),
        )
    if not len(result.rejected):
        return
    key = table.model.calendar.key
    periods = frame[spec.event_time].dt.floor("h").map(key)
    total = periods.value_counts()
    bad = result.rejected[spec.event_time].dt.floor("h").map(key).value_counts()
    refused = [str(p) for p, count in bad.sort_index().items() if count > limit * total[p]]
    if refused:
        worst = max(bad[p] / total[p] for p in refused)
        yield Finding(
            "refused_periods",
            "problem",
            ("validation", "max_rejected_share"),
            f"{len(refused)} of {len(total)} periods would be refused, with up to {worst:.1%} of "
            f"their rows rejected (limit {limit:.2%}): {some(refused)}. Correct these rows in the "
            "source, or raise the limit",
        )


def _leaks(table: Table) -> Iterator[Finding]:
    spec = table.model.spec
    truth = table.frame[spec.label.column]
    found = find_leaks(table.frame[list(spec.columns)], truth, table.labels[LABEL], spec.task)
    for name, leak in found.items():
        yield Finding(
            "leak",
            "problem" if leak.proven else "warning",
            ("columns", name),
            f"{name!r} may give the answer away: {leak.reason}. Keep it only if it is known "
            "at the event",
        )


def _history(table: Table) -> Iterator[Finding]:
    spec, calendar = table.model.spec, table.model.calendar
    counts = cut(table.times, calendar.every, calendar.start)
    if counts.empty:
        yield Finding(
            "empty_periods",
            "warning",
            ("period",),
            f"{len(counts.empty)} of {len(counts.rows)} periods have no row: {some(counts.empty)}",
        )
    small = [p for p, n in counts.rows.items() if 0 < n < spec.validation.min_rows]
    if small:
        yield Finding(
            "small_periods",
            "warning",
            ("validation", "min_rows"),
            f"{len(small)} of {len(counts.rows)} periods have fewer than "
            f"{spec.validation.min_rows} rows: {some(small)}",
        )
    known = table.labels[KNOWN_AT]
    labelled = table.frame[spec.event_time][known <= table.now]
    over = set(calendar.closed(table.now))
    able = set(labelled.dt.floor("h").map(calendar.key)) & over
    training = spec.training
    needed = training.window.min + training.validation + training.holdout
    if len(able) < needed:
        yield Finding(
            "short_history",
            "problem",
            ("training", "window", "min"),
            f"{len(able)} periods that are over have labels, but a training needs {needed} "
            f"(window.min {training.window.min} + validation {training.validation} + holdout "
            f"{training.holdout}): shorten the period, or lower these numbers",
        )


def _place_of(table: Table, reason: str) -> Place:
    spec = table.model.spec
    if reason == "key" or reason == spec.entity:
        return ("entity",)
    if reason in spec.columns:
        return ("columns", reason)
    if reason in (spec.label.column, spec.label.known_at):
        return ("label", "column" if reason == spec.label.column else "known_at")
    if reason == spec.weight:
        return ("weight",)
    for place, rule in enumerate(spec.validation.checks):
        if reason.startswith(f"rule {rule.name!r}"):
            return ("validation", "checks", place)
    return ("event_time",) if reason == spec.event_time else ("label",)


def _example(texts: pd.Series, reason: str) -> str:
    for text in texts:
        for part in str(text).split("; "):
            if part.split(":")[0] == reason:
                return part
    return reason
