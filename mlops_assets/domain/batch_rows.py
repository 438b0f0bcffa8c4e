"""Arrow record batches as columns of a contract: what can be scored, and why the rest cannot.

The rules are those of requests (`domain.values`), applied to whole columns. Categories keep their
dictionary, so the text of a value is looked at once per batch and not once per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import MISSING_CATEGORY, ColumnType, Contract, ContractColumn
from mlops_assets.domain.date_parts import parts_of_series
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.values import LARGEST_INTEGER, is_portable

# A column, what is wrong with it, and in which rows (n,).
Problem = tuple[str, str, np.ndarray]


@dataclass(frozen=True)
class CheckedBatch:
    """The rows that keep the contract, by column, and the reasons of those that don't.

    `good` says which rows of the batch `columns` holds, of shape (n,); None where it holds all.
    `reasons` has one text per other row, in order; `failures` counts them by column.
    """

    columns: dict[str, Column]
    good: np.ndarray | None
    reasons: tuple[str, ...]
    failures: dict[str, int] = field(default_factory=dict)


def check_types(schema: pa.Schema, contract: Contract) -> None:
    """Raise DataError for a column that is missing, or whose type can hold no value of it."""
    if contract.computed:
        _check_time(schema, contract)
    for column in contract.asked:
        if column.name not in schema.names:
            raise DataError(
                f"the rows have no column {column.name!r}; they have {', '.join(schema.names)}, "
                f"and {contract.model} takes {', '.join(c.name for c in contract.asked)}."
            )
        kind = schema.field(column.name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not _fits(kind, column.type):
            raise DataError(f"column {column.name!r} holds {kind}, which is no {column.type}.")


def _check_time(schema: pa.Schema, contract: Contract) -> None:
    names = ", ".join(column.name for column in contract.computed)
    require_times(schema, contract, f"which {contract.model} needs for {names}.")


def require_times(schema: pa.Schema, contract: Contract, purpose: str) -> None:
    """Raise DataError, with what times are needed for, where rows do not say when they are."""
    name = contract.event_time
    kind = schema.field(name).type if name in schema.names else None
    if kind is None or not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise DataError(
            f"the rows have no times in {name!r} ({kind or 'no such column'}), {purpose}"
        )


def _fits(kind: pa.DataType, wanted: ColumnType) -> bool:
    types = pa.types
    if types.is_null(kind) or types.is_integer(kind) or types.is_floating(kind):
        return True
    if types.is_boolean(kind):
        return wanted in ("boolean", "category")
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(types.is_decimal(kind) or (text and wanted == "category"))


def check_rows(
    batch: pa.RecordBatch, contract: Contract, known: Sequence[Problem] = ()
) -> CheckedBatch:
    """Read the contract's columns of a batch that passed `check_types`.

    `known` is what is wrong with its rows already.
    """
    columns: dict[str, Column] = {}
    problems = [problem for problem in known if problem[2].any()]
    for column in contract.asked:
        array = batch.column(column.name)
        read = _category if column.type == "category" else _number
        columns[column.name], found = read(array, column)
        problems += [(column.name, reason, rows) for reason, rows in found if rows.any()]
    if contract.computed:
        times = batch.column(contract.event_time).to_pandas()
        columns |= {column.name: parts_of_series(times, column) for column in contract.computed}
        missing = times.isna().to_numpy()
        if missing.any():
            problems.append((contract.event_time, "missing, but inputs come from it", missing))
    if not problems:
        return CheckedBatch(columns, None, ())
    bad = np.logical_or.reduce([rows for _, _, rows in problems])
    return CheckedBatch(
        {name: column[~bad] for name, column in columns.items()},
        ~bad,
        _texts(problems, bad),
        _counts(problems),
    )


def _texts(problems: Sequence[Problem], bad: np.ndarray) -> tuple[str, ...]:
    texts: dict[int, list[str]] = {int(row): [] for row in np.flatnonzero(bad)}
    for name, reason, rows in problems:
        for row in np.flatnonzero(rows):
            texts[int(row)].append(f"{name}: {reason}")
    return tuple("; ".join(found) for found in texts.values())


def _counts(problems: Sequence[Problem]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, reason, rows in problems:
        key = f"{name}: {reason}"
        counts[key] = counts.get(key, 0) + int(rows.sum())
    return counts


def _number(array: pa.Array, column: ContractColumn) -> tuple[Column, list[tuple[str, np.ndarray]]]:
    """Float64 with NaN for missing, and which rows have which problem."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    whole = pa.types.is_integer(array.type) or pa.types.is_boolean(array.type)
    if not pa.types.is_float64(array.type):
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.uint8())
        array = pc.cast(array, pa.float64(), safe=False)
    values = array.to_numpy(zero_copy_only=False)
    problems: list[tuple[str, np.ndarray]] = []
    finite = np.isfinite(values)
    if not finite.all():
        missing = np.isnan(values)
        if not column.nullable:
            problems.append(("missing, but not nullable", missing))
        problems.append(("not finite", ~finite & ~missing))
    if column.type == "integer":
        # NaN and infinity are told above.
        with np.errstate(invalid="ignore"):
            broken = np.abs(values) > LARGEST_INTEGER
            if not whole:
                broken |= (np.floor(values) != values) & finite
        problems.append(("no whole number between -2^53 and 2^53", broken & finite))
    if column.type == "boolean":
        problems.append(("neither true nor false", (values != 0) & (values != 1) & finite))
    return values, problems


def _category(
    array: pa.Array, column: ContractColumn
) -> tuple[Column, list[tuple[str, np.ndarray]]]:
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if not pa.types.is_dictionary(array.type):
        array = pc.dictionary_encode(array)
    raw = array.dictionary.to_pylist()
    texts = [MISSING_CATEGORY if value is None else text_of(value) for value in raw]
    indices = array.indices
    problems: list[tuple[str, np.ndarray]] = []
    if indices.null_count:
        indices = indices.fill_null(len(texts))
        texts.append(MISSING_CATEGORY)
        raw.append(None)
    codes = indices.to_numpy(zero_copy_only=False)
    kinds = {
        "missing, but not nullable": [value is None and not column.nullable for value in raw],
        "the text that stands for a missing value": [value == MISSING_CATEGORY for value in raw],
        "text with a NUL character": [not is_portable(text) for text in texts],
    }
    for reason, flags in kinds.items():
        if any(flags):
            problems.append((reason, np.array(flags)[codes]))
    return Coded(codes, tuple(texts)), problems


def text_of(value: object) -> str:
    """A category's text, as training reads it: a whole number in a float has no `.0`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
