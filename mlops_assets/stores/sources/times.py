"""Event times of Arrow data: as bounds of a stretch, and in UTC."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mlops_assets.domain.errors import NoTimesError


def within(schema: pa.Schema, event_time: str, start: datetime | None, end: datetime) -> Any:
    """A filter expression for `start` <= event time < `end`, in the type that the column has.

    A column in its own type can be compared with the statistics of row groups and files, so those
    without such rows are not read. Raises NoTimesError where the column holds no times.
    """
    kind = schema.field(event_time).type
    field = ds.field(event_time)
    wanted = field < _as_type(end, kind, event_time)
    if start is not None:
        wanted &= field >= _as_type(start, kind, event_time)
    return wanted


def after(schema: pa.Schema, event_time: str, start: datetime) -> Any:
    """A filter expression for an event time later than `start`."""
    return ds.field(event_time) > _as_type(start, schema.field(event_time).type, event_time)


def _as_type(moment: datetime, kind: pa.DataType, event_time: str) -> pa.Scalar:
    aware = moment.astimezone(UTC)
    naive = aware.replace(tzinfo=None)
    if pa.types.is_date(kind):
        return pa.scalar(first_date(naive), kind)
    if not pa.types.is_timestamp(kind):
        raise NoTimesError(
            f"the event time column {event_time!r} holds {kind}, not a timestamp: store it as a "
            "timestamp; in a CSV file in ISO 8601, or as source.time_format says."
        )
    found = pa.scalar(aware if kind.tz else naive, pa.timestamp("us", kind.tz))
    try:
        # In another unit than the column's it would not be compared with statistics.
        return found.cast(kind)
    except pa.ArrowInvalid:
        return found


def first_date(moment: datetime) -> date:
    """The first day whose midnight is not before `moment` (without a zone)."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight if midnight == moment else midnight + timedelta(days=1)).date()


def in_utc(rows: pa.Table, event_time: str) -> pa.Table:
    """Times in microseconds and UTC, and no dictionaries, which could not be sorted by.

    An event time that is a date is the midnight with which it begins.
    """
    for place, field in enumerate(rows.schema):
        column = rows[field.name]
        kind = field.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if field.name == event_time and pa.types.is_date(kind):
            column, kind = column.cast(pa.timestamp("us")), pa.timestamp("us")
        if pa.types.is_timestamp(kind):
            if kind.tz is None:
                column = pc.assume_timezone(column, "UTC")
            column = pc.cast(column, pa.timestamp("us", tz="UTC"), safe=False)
        if column is not rows[field.name]:
            rows = rows.set_column(place, field.name, column)
    return rows


def latest(times: pa.ChunkedArray) -> datetime | None:
    """The latest of these times; None if there is none."""
    found = pc.max(times).as_py()
    return found if isinstance(found, datetime) else None


def utc(moment: datetime | date) -> datetime:
    """The time in UTC; one without a zone is in UTC already, a date is its midnight."""
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
