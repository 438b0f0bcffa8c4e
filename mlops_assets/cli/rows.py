"""Rows of a file as records that the endpoint takes."""

import json
import math
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from mlops_assets.cli.endpoint import RecordSchema
from mlops_assets.domain.errors import DataError

Rows = list[dict[str, Any]]


def read_rows(path: Path, schema: RecordSchema) -> Rows:
    """The file's rows with the columns that the model knows, missing values as None.

    The suffix tells the format: .jsonl or .ndjson, .csv, .parquet. Raises DataError for an
    unknown format, an unreadable file, or one without rows or without any known column.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: {path.suffix!r} is none of {', '.join(READERS)}.")
    rows = reader(path, schema)
    if not rows:
        raise DataError(f"{path} has no rows.")
    if not any(name in schema.types for row in rows for name in row):
        raise DataError(
            f"{path} has none of the model's columns; it has {', '.join(rows[0])}, and the model "
            f"takes {', '.join(schema.types)}."
        )
    return [
        {name: _portable(value) for name, value in row.items() if name in schema.types}
        for row in rows
    ]


def _read_json_lines(path: Path, schema: RecordSchema) -> Rows:
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: must be an object of columns and values.")
        rows.append(row)
    return rows


def _read_csv(path: Path, schema: RecordSchema) -> Rows:
    """Columns get the type that the model asks for; an empty field is a missing value."""
    import pyarrow as pa
    import pyarrow.csv

    arrow = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_()}
    wanted = {
        name: next((arrow[one] for one in ("integer", "number", "boolean") if types == {one}), None)
        or pa.string()
        for name, types in schema.types.items()
    }
    options = pyarrow.csv.ConvertOptions(column_types=wanted, strings_can_be_null=True)
    try:
        return list(pyarrow.csv.read_csv(path, convert_options=options).to_pylist())
    except pa.ArrowException as error:
        raise DataError(f"{path}: {error}.") from error


def _read_parquet(path: Path, schema: RecordSchema) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        names = set(pyarrow.parquet.read_schema(path).names)
        table = pyarrow.parquet.read_table(path, columns=[n for n in schema.types if n in names])
    except pa.ArrowException as error:
        raise DataError(f"{path}: {error}.") from error
    return list(table.to_pylist())


READERS: dict[str, Callable[[Path, RecordSchema], Rows]] = {
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _portable(value: Any) -> Any:
    """What JSON can carry: NaN is a missing value, times are ISO 8601."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
