"""What `mlops new` proposes where a table lacks times, a key, or an input that two columns make.

All can be had without touching the table: by saying how it writes times, or with a query.
"""

import re
import shlex
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_assets.spec.source import Source

# Seconds or milliseconds since 1970, from 2001 to 2286.
SECONDS = re.compile(r"[1-9]\d{9}(\d{3})?(\.0)?")
MILLISECONDS = 13
# Formats in which a time looks like a number.
BARE_DIGITS = re.compile(r"(%[YymdHMSj])+")
FIRST_ROWS = 2_000


def time_hint(source: "Source", folder: Path, column: str, origin: str) -> str:
    """Why `column` cannot be the event time, and what to type instead."""
    from mlops_assets.spec.source import CsvSource
    from mlops_assets.stores.csv_writing import formats_of, mixed_zones, odd_time
    from mlops_assets.stores.sample import time_columns
    from mlops_assets.stores.sources import column_names

    told = f"--time {column}: the column holds no times"
    named, table = _column(column), _from(source, origin)
    if isinstance(source, CsvSource):
        odd = odd_time(source, folder, column)
        if odd:
            row, text = odd
            made = f"SELECT * REPLACE (try_cast({named} AS TIMESTAMP) AS {named}) {table}"
            return (
                f"--time {column}: the column holds times, but {text!r} in row {row:,}. Correct "
                f"it, or make what is no time a missing one: {_typed(made)}"
            )
        mixed = mixed_zones(source, folder, column)
        if mixed:
            made = f"SELECT * REPLACE ({named}::TIMESTAMP AS {named}) {table}"
            return (
                f"--time {column}: some times have a zone, such as {mixed[0]!r}, and others none, "
                f"such as {mixed[1]!r}. If those are in UTC: {_typed(made)}"
            )
        example, formats = formats_of(source, folder, column)
        told += f" in ISO 8601, but such as {example!r}" if example else ""
        if formats:
            written = " or ".join(f"--time-format {shlex.quote(form)}" for form in formats[:2])
            told += f". Add {written}{', whichever it is' if formats[1:] else ''}."
            names = {name.casefold() for name in column_names(source, folder)}
            if formats == ("%Y",) and {"month", "day"} <= names:
                made = f"SELECT *, make_date({named}, month, day) AS event_date {table}"
                told += f" Or make dates of it, month and day: {_typed(made)} --time event_date"
            return told
        if SECONDS.fullmatch(example):
            made = f"SELECT * REPLACE ({_since_1970(example, named)} AS {named}) {table}"
            unit = "" if len(example) < MILLISECONDS else "milli"
            return f"{told}. If these are {unit}seconds since 1970: {_typed(made)}"
    else:
        texts = _texts(source, folder, column, origin)
        time = _as_time(texts, named)
        if time:
            made = f"SELECT * REPLACE ({time} AS {named}) {table}"
            return f"{told}, but such as {texts[0]!r}. A query makes times of them: {_typed(made)}"
    able = ", ".join(time_columns(source, folder)) or "none"
    made = _typed(f"SELECT *, make_date(year, month, day) AS event_date {table}")
    return (
        f"{told}. Columns of times: {able}. A query can make one of other columns: "
        f"{made} --time event_date"
    )


def _since_1970(example: str, named: str) -> str:
    unit = "" if len(example) < MILLISECONDS else " / 1000"
    return f"make_timestamp(({named}{unit} * 1000000)::BIGINT)"


def _as_time(texts: list[str], named: str) -> str:
    """What makes a time of a column with these values; empty if they are none."""
    from mlops_assets.domain.written_values import is_time, time_formats

    if texts and all(map(SECONDS.fullmatch, texts)):
        return _since_1970(texts[0], named)
    if texts and all(is_time(text) and not text.isdigit() for text in texts):
        return f"{named}::TIMESTAMP"
    formats = time_formats(texts)
    return f"strptime({named}::VARCHAR, '{formats[0]}')" if formats else ""


def _texts(source: "Source", folder: Path, column: str, origin: str) -> list[str]:
    """The first values of a column of what DuckDB reads; none where it cannot tell."""
    from mlops_assets.domain.errors import SourceError
    from mlops_assets.spec.source import DuckdbSource
    from mlops_assets.stores.sources.duckdb_query import DuckdbQuery

    if source.kind in ("sql", "python"):
        return []
    query = f"SELECT * {_from(source, origin)}"
    asked = DuckdbSource(kind="duckdb", query=query, timeout=source.timeout)
    try:
        # The origin is relative to where the user is.
        return DuckdbQuery(asked, Path.cwd()).texts(column, FIRST_ROWS)
    except SourceError:
        return []


def key_hint(source: "Source", origin: str, event_time: str) -> str:
    """A query that numbers the rows of a file; empty where none of ours can."""
    if _is_locked(source):
        return ""
    made = f"SELECT row_number() OVER () AS row_id, * {_from(source, origin, event_time)}"
    return f" As long as new rows come last, a query can number them: {_typed(made)}"


def spans_hint(
    source: "Source", origin: str, event_time: str, columns: Sequence[str], there: Container[str]
) -> str:
    """A query for how long before the event times of other columns lie; empty as `key_hint`.

    Without those that have such a column among the ones that are `there`.
    """
    columns = [name for name in columns if _since(name) not in there]
    if not columns or _is_locked(source):
        return ""
    spans = ", ".join(
        f"date_diff('minute', try_cast({_column(column)} AS TIMESTAMP), "
        f"try_cast({_column(event_time)} AS TIMESTAMP)) AS {_column(_since(column))}"
        for column in columns
    )
    names = ", ".join(columns)
    made = f"SELECT *, {spans} {_from(source, origin, event_time, *columns)}"
    return f"A query makes an input of how long before {event_time} {names} lies: {_typed(made)}"


def _since(column: str) -> str:
    return f"minutes_since_{column}"


def _is_locked(source: "Source") -> bool:
    """Whether no query of ours reaches the table: it takes a token, or a database should do it."""
    from mlops_assets.spec.source import CsvSource, ParquetSource

    needs_token = isinstance(source, CsvSource | ParquetSource) and bool(source.token_env)
    return needs_token or source.kind in ("sql", "python")


def _from(source: "Source", origin: str, *times: str) -> str:
    """The part of a query that names the table that the user named.

    `times` are its columns in the format that the source states, as far as they are known.
    """
    from mlops_assets.spec.source import CsvSource

    if times and isinstance(source, CsvSource) and BARE_DIGITS.fullmatch(source.time_format):
        # As DuckDB's own format it would make times of any column of numbers.
        made = ", ".join(
            f"strptime({_column(name)}, {_quoted(source.time_format)}) AS {_column(name)}"
            for name in times
        )
        texts = ", ".join(f"{_column(name)}: 'VARCHAR'" for name in times)
        unstated = source.model_copy(update={"time_format": ""})
        table = f"FROM {_table(unstated, origin, texts)}"
        return f"FROM (SELECT * REPLACE ({made}) {table})"
    return f"FROM {_table(source, origin)}"


def _table(source: "Source", origin: str, types: str = "") -> str:
    from mlops_assets.spec.source import CsvSource, is_web

    if source.kind == "duckdb":
        return f"({origin})"
    name = _quoted(origin)
    if source.kind == "delta":
        return f"delta_scan({name})"
    if not isinstance(source, CsvSource):
        return f"read_parquet({name})" if is_web(origin) else name
    said = {
        "delim": source.delimiter if source.delimiter != "," else "",
        "decimal_separator": source.decimal if source.decimal != "." else "",
        "timestampformat": source.time_format,
        "encoding": source.encoding if source.encoding != "utf-8" else "",
    }
    more = "".join(f", {key}={_quoted(value)}" for key, value in said.items() if value)
    more += f", types={{{types}}}" if types else ""
    # An address need not end as its file would.
    return f"read_csv({name}{more})" if more or is_web(origin) else name


def _typed(query: str) -> str:
    """A query as it is typed into a shell."""
    return '--from "' + re.sub(r'(["$`\\])', r"\\\1", query) + '"'


def _column(name: str) -> str:
    """A column in a query; any name may be quoted."""
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
