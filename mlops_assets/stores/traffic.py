"""A source's rows as the requests that clients would have sent at the time."""

from datetime import datetime
from typing import Any

import pandas as pd

from mlops_assets.spec import Model
from mlops_assets.stores import sources

MOST_RECORDS = 50


def requests(model: Model, period: str) -> list[list[dict[str, Any]]]:
    """The period's records, those of the same moment asked for together."""
    name = model.spec.event_time
    found: list[list[dict[str, Any]]] = []
    for record in records(model, period):
        full = not found or len(found[-1]) >= MOST_RECORDS
        if full or found[-1][0][name] != record[name]:
            found.append([])
        found[-1].append(record)
    return found


def records(model: Model, period: str) -> list[dict[str, Any]]:
    """One record per row of the period, in order of time: identity, time and inputs, no label.

    Rows that break the contract's types are sent as they are: the endpoint has to refuse them.
    """
    spec, bounds = model.spec, model.calendar.bounds(period)
    rows = sources.read(
        spec.source,
        model.folder,
        columns=spec.source_columns,
        event_time=spec.event_time,
        start=bounds.start,
        end=bounds.end,
    )
    names = list(dict.fromkeys((spec.entity, spec.event_time, *spec.columns)))
    return [
        {name: _json_value(model, name, row[name]) for name in names}
        for row in rows.select(names).to_pylist()
    ]


def _json_value(model: Model, name: str, value: Any) -> Any:
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value != value:
        return None
    column = model.spec.columns.get(name)
    if column is not None and column.type == "category":
        return str(value)
    return value
