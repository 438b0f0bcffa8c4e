"""What a model's rows are: their columns, their label, and how history is cut into periods."""

from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mlops_assets.domain.contract import ColumnType
from mlops_assets.domain.periods import Every
from mlops_assets.spec.part import Duration, Part


class Label(Part):
    """What the model predicts, and when the truth is known."""

    column: str = Field(description="Column that holds the truth; null means that it has none.")
    above: float | None = Field(
        default=None, description="Binary tasks: the label is whether the column exceeds this."
    )
    known_at: str = Field(
        default="", description="Column with the time at which the label becomes known."
    )
    known_after: Duration = Field(
        default=timedelta(0),
        description="Delay from the event to the known label, where no column tells it.",
    )


class Period(Part):
    """How history is cut."""

    every: Every = Field(
        default="weekly",
        description="Length of a period: hourly, daily, weekly, monthly, quarterly or yearly; "
        "weeks begin on Monday, in UTC.",
    )
    start: date = Field(description="First day of the history.")
    end: date | None = Field(
        default=None, description="Day after the last one, for a history that has ended."
    )


class Column(Part):
    """The contract of one input column."""

    type: ColumnType = Field(description="number, integer, category or boolean.")
    nullable: bool = Field(default=False, description="Whether a value may be missing.")
    min: float | None = Field(default=None, description="Least allowed value.")
    max: float | None = Field(default=None, description="Greatest allowed value.")
    categories: tuple[str, ...] = Field(
        default=(), description="Allowed values of a category; empty allows every value."
    )
    description: str = Field(default="", description="What the column means, with its unit.")


def _column_from_shorthand(value: Any) -> Any:
    """`carrier: category` and `seats: number?` are short for a full column."""
    if isinstance(value, str):
        return {"type": value.removesuffix("?"), "nullable": value.endswith("?")}
    return value


ShortColumn = Annotated[
    Column, BeforeValidator(_column_from_shorthand, json_schema_input_type=str | Column)
]


class RowCheck(Part):
    """A rule that every row must satisfy."""

    name: str = Field(description="Short name, shown as the reason in quarantine.")
    expression: str = Field(
        description="A pandas expression over the columns that is true for good rows."
    )


class Validation(Part):
    """What makes a period's rows acceptable."""

    max_rejected_share: float = Field(
        default=0.01, ge=0, le=1, description="Above this share of bad rows the period is refused."
    )
    min_rows: int = Field(default=1, ge=0, description="Fewer rows in a period fail the check.")
    checks: tuple[RowCheck, ...] = Field(default=(), description="Rules over several columns.")
