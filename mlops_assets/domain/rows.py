"""The contract on incoming rows, as plain values that a spec can hold."""

from dataclasses import dataclass

from mlops_assets.domain.contract import ColumnType


@dataclass(frozen=True)
class ColumnRule:
    """What one column must be."""

    name: str
    type: ColumnType
    nullable: bool
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowRule:
    """A pandas expression that is true for good rows."""

    name: str
    expression: str


@dataclass(frozen=True)
class LabelRule:
    """What a label must be where it is there: a number if `numeric`, never known before the event.

    `known_at` is the column of the time at which it became known, or empty.
    """

    column: str
    numeric: bool
    known_at: str
    event_time: str


@dataclass(frozen=True)
class RowsContract:
    """The whole contract: columns, keys that are unique together, times, rules over columns.

    `weight` names the column that tells how much a row counts; empty where all count the same.
    """

    columns: tuple[ColumnRule, ...]
    keys: tuple[str, ...]
    required: tuple[str, ...]
    checks: tuple[RowRule, ...] = ()
    label: LabelRule | None = None
    weight: str = ""
