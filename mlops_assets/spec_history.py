"""What a model's `defs.yaml` may say about inputs that come from an entity's past."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Literal

from pydantic import Field

from mlops_assets.domain.contract import Aggregate, ColumnType, HistoryRule
from mlops_assets.domain.periods import Every
from mlops_assets.spec_part import Part

OF_EVENTS = ("count", "days_since_last")


class History(Part):
    """An input that is an aggregate over past rows with the same key."""

    name: str = Field(description="Name of the input.")
    entity: str = Field(
        default="",
        description="Whose past: the model's entity, or a category column. Default: the entity.",
    )
    aggregate: Aggregate = Field(
        description="count (rows), sum, mean, min, max, last (the newest value) of `column`, or "
        "days_since_last (from the newest row to the event). Without any row, count and sum are 0 "
        "and all others are missing."
    )
    column: str = Field(
        default="",
        description="The number, integer or boolean that is aggregated, or the label's column, of "
        "which only values count that were known by then. count and days_since_last need none; "
        "with one they count the rows that have a value.",
    )
    window: timedelta = Field(description="How far back it looks, such as 28d.")
    until: Literal["period", "event"] = Field(
        default="period",
        description="Up to when rows count. period: before the row's period began, which is what "
        "serving knows too, because periods are published once they are over. event: before the "
        "row's own time; serving then lacks the rows of the period that is under way, unless "
        "periods are short.",
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
        )


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
        for message in _of_column(rule, [*numbers, label]):
            yield (place, "column"), message
        if rule.column == label and has_classes:
            yield (
                (place, "column"),
                f"{label!r} holds classes, which have no {rule.aggregate}",
            )
        if rule.window <= timedelta(0):
            yield (place, "window"), f"{rule.window} is not positive; write such as 28d"


def _of_column(rule: History, fitting: Sequence[str]) -> Iterator[str]:
    if not rule.column and rule.aggregate not in OF_EVENTS:
        yield f"{rule.aggregate} needs a column: one of {', '.join(fitting)}"
    if rule.column and rule.column not in fitting:
        yield (
            f"{rule.column!r} is no numeric column of this model and not its label; use one of "
            f"{', '.join(fitting)}"
        )
