"""What a model's `defs.yaml` may say about inputs that come from an entity's past."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Literal

from pydantic import Field

from mlops_assets.domain.contract import Aggregate, ColumnType, HistoryRule
from mlops_assets.domain.periods import Every
from mlops_assets.spec.part import Duration, Part

OF_EVENTS = ("count", "days_since_last")


class History(Part):
    """An input that is an aggregate over past rows with the same key."""

    name: str = Field(description="Name of the input.")
    entity: str = Field(
        default="",
        description="Whose past: the model's entity, or a category column. Default: the entity.",
    )
    aggregate: Aggregate | Literal[""] = Field(
        default="",
        description="count (rows), sum, mean, min, max, last (the newest value) of `column`, or "
        "days_since_last (from the newest row to the event). Without any row, count and sum are 0 "
        "and all others are missing.",
    )
    column: str = Field(
        default="",
        description="The number, integer or boolean that is aggregated, or the label's column, of "
        "which only values count that were known by then. count and days_since_last need none; "
        "with one they count the rows that have a value.",
    )
    function: str = Field(
        default="",
        pattern=r"^([A-Za-z_]\w*)?$",
        description="In place of an aggregate: a function of features.py beside the defs.yaml, "
        "`def trend(times, values, at)`. It gets the rows' times (n,), oldest first, the values "
        "(n,) of `columns` by name, NaN where missing or not yet known, and the end of the "
        "window, and returns a number, or None for missing. It must depend on nothing else.",
    )
    columns: tuple[str, ...] = Field(
        default=(), description="What a function sees of each row: columns as for `column`."
    )
    window: Duration = Field(description="How far back it looks, such as 28d.")
    until: Literal["period", "event"] = Field(
        default="period",
        description="Up to when rows count. period: before the row's period began, which is what "
        "serving knows too, because periods are published once they are over. event: before the "
        "row's own time; serving then lacks the rows of the period that is under way, unless "
        "periods are short.",
    )
    digest: str = Field(
        default="",
        description="sha256 of features.py, which is filled in where the spec is read: leave it "
        "out. A version is served only with the functions that it was trained with.",
    )

    @classmethod
    def of(cls, rule: HistoryRule) -> "History":
        """From a rule as contracts carry it."""
        return cls(
            name=rule.name,
            entity=rule.key,
            aggregate=rule.aggregate,
            column=rule.column,
            window=timedelta(seconds=rule.window_seconds),
            until=rule.until,
            function=rule.function,
            columns=rule.columns,
            digest=rule.digest,
        )

    def rule(self, entity: str, every: Every) -> HistoryRule:
        """The rule as contracts carry it."""
        return HistoryRule(
            name=self.name,
            key=self.entity or entity,
            aggregate=self.aggregate,
            column=self.column,
            window_seconds=self.window.total_seconds(),
            every=every,
            until=self.until,
            function=self.function,
            columns=self.columns,
            digest=self.digest,
        )

    @property
    def told(self) -> str:
        """What it computes, in words."""
        if self.function:
            return f"{self.function}() of {', '.join(self.columns) or 'rows'}"
        return f"{self.aggregate} of {self.column or 'rows'}"


def mistakes(
    rules: Sequence[History],
    types: Mapping[str, ColumnType],
    *,
    entity: str,
    event_time: str,
    label: str,
    has_classes: bool,
) -> Iterator[tuple[tuple[int, str], str]]:
    """What is wrong with the rules: place and field, and what to do about it.

    `types` are those of the model's columns; `has_classes` says that the label is no number.
    """
    numbers = [name for name, type_ in types.items() if type_ != "category"]
    keys = [name for name, type_ in types.items() if type_ == "category"]
    if entity != event_time:
        keys.insert(0, entity)
    for place, rule in enumerate(rules):
        if (rule.entity or entity) not in keys:
            yield (
                (place, "entity"),
                f"{rule.entity or entity!r} is no entity with a past, and no category of this "
                f"model; name one of {', '.join(keys) or 'its categories: it has none'}",
            )
        for field, message in _of_columns(rule, [*numbers, label]):
            yield (place, field), message
        if label in (rule.column, *rule.columns) and has_classes:
            yield (
                (place, "columns" if rule.function else "column"),
                f"{label!r} holds classes, which have no {rule.aggregate or 'number'}",
            )
        if rule.window <= timedelta(0):
            yield (place, "window"), f"{rule.window} is not positive; write such as 28d"


def _of_columns(rule: History, fitting: Sequence[str]) -> Iterator[tuple[str, str]]:
    if bool(rule.aggregate) == bool(rule.function):
        yield "aggregate", "an input from the past has either an aggregate or a function"
    elif rule.function and rule.column:
        yield "column", f"a function sees columns: write `columns: [{rule.column}]`"
    elif rule.aggregate and rule.columns:
        yield "columns", f"{rule.aggregate} has one column: write `column: {rule.columns[0]}`"
    elif rule.aggregate and not rule.column and rule.aggregate not in OF_EVENTS:
        yield "column", f"{rule.aggregate} needs a column: one of {', '.join(fitting)}"
    for field, names in (("column", (rule.column,)), ("columns", rule.columns)):
        for name in names:
            if name and name not in fitting:
                yield (
                    field,
                    f"{name!r} is no numeric column of this model and not its label; use one of "
                    f"{', '.join(fitting)}",
                )
