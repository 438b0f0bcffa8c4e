"""A source's rows as the requests that clients would have sent at the time."""

from datetime import datetime
from typing import Any

import pandas as pd

from mlops_assets.domain.contract import ColumnType, Contract
from mlops_assets.spec import Model
from mlops_assets.stores import sources

MOST_RECORDS = 50


def requests(
    model: Model, period: str, contract: Contract | None = None
) -> list[list[dict[str, Any]]]:
    """The period's records, those of the same moment asked for together; see `records`."""
    return together(model, records(model, period, contract))


def together(model: Model, asked: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Records in order of time as requests: a moment's are asked for together, 50 at most."""
    name = model.spec.event_time
    found: list[list[dict[str, Any]]] = []
    for record in asked:
        full = not found or len(found[-1]) >= MOST_RECORDS
        if full or found[-1][0][name] != record[name]:
            found.append([])
        found[-1].append(record)
    return found


def records(model: Model, period: str, contract: Contract | None = None) -> list[dict[str, Any]]:
    """One record per row of the period, in order of time: identity, time and inputs, no label.

    The inputs are those of the spec, or those that a version's contract asks for, as far as the
    source has them. Rows that break the contract's types are sent as they are: the endpoint has to
    refuse them.
    """
    spec, bounds = model.spec, model.calendar.bounds(period)
    inputs = {name: column.type for name, column in spec.columns.items()}
    if contract is not None:
        inputs = {c.name: c.type for c in contract.asked if c.name not in contract.looked_up}
        if not inputs.keys() <= spec.columns.keys():
            known = sources.column_names(spec.source, model.folder)
            inputs = {name: kind for name, kind in inputs.items() if name in known}
    names = list(dict.fromkeys((spec.entity, spec.event_time, *inputs)))
    rows = sources.read(
        spec.source,
        model.folder,
        columns=tuple(dict.fromkeys((*spec.source_columns, *names))),
        event_time=spec.event_time,
        start=bounds.start,
        end=bounds.end,
    )
    return [
        {name: _json_value(inputs.get(name), row[name]) for name in names}
        for row in rows.select(names).to_pylist()
    ]


def with_key(model: Model, contract: Contract, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that lack the entity whose past the contract looks up.

    One of them would have its whole request refused, and `validated_data` sets such rows apart.
    """
    entity = model.spec.entity
    if all(rule.key != entity for rule in contract.history):
        return asked
    return [record for record in asked if record[entity] is not None]


def _json_value(kind: ColumnType | None, value: Any) -> Any:
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value != value:
        return None
    return str(value) if kind == "category" else value
