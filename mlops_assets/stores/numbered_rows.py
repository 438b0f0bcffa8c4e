"""Rows of a model's table that count from 0 and of which the newest is in force.

Who did something, when and why, is such a row (stores.pauses, stores.retirements). A number is
written once: of a race one wins, and a step that is killed may be repeated.
"""

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Generic, TypeVar

import pyarrow as pa

from mlops_assets.stores.lake import Lake


@dataclass(frozen=True)
class NumberedRow:
    """`number` counts a model's rows from 0 and gives their order."""

    model: str
    number: int


Row = TypeVar("Row", bound=NumberedRow)


@dataclass(frozen=True)
class NumberedRows(Generic[Row]):
    """The rows of one `kind` ("pause"), each a `row`, in a `table` of the lake."""

    lake: Lake
    table: str
    kind: str
    row: type[Row]

    def of(self, model: str) -> list[Row]:
        """All rows of a model, oldest first."""
        if not self.lake.exists(model, self.table):
            return []
        names = [field.name for field in fields(self.row)]
        rows = self.lake.read(model, self.table).to_pylist()
        found = [self.row(**{name: row[name] for name in names}) for row in rows]
        return sorted(found, key=lambda one: one.number)

    def add(self, row: Row) -> bool:
        """Write a row, once; False if its number is there already."""
        key = hashlib.sha256(f"{row.model} {row.number}".encode()).hexdigest()[:12]
        rows = pa.Table.from_pylist([asdict(row)])
        source = f"{self.kind}-{key}"
        return self.lake.append_once(row.model, self.table, rows, source=source, position=1)
