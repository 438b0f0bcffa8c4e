"""Parts of the event time that a model takes as inputs, the same in training and serving.

They are computed where rows come in, since a local hour needs the rules of a time zone, which no
ONNX graph knows. The process that answers requests imports this module: standard library and
numpy, pandas only for whole columns.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from mlops_assets.domain.contract import Contract, ContractColumn, TimePart
from mlops_assets.domain.errors import RequestError

READ: dict[TimePart, Callable[[datetime], int]] = {
    "hour": lambda time: time.hour,
    "weekday": lambda time: time.weekday(),
    "month": lambda time: time.month,
}
zone_of = lru_cache(ZoneInfo)


def part_of(time: str, column: ContractColumn) -> float:
    """The part (hour 0 to 23, weekday 0 is Monday, month 1 to 12) of an ISO 8601 time in UTC.

    Raises OverflowError in the first and the last hours of the calendar, which a zone may not have.
    """
    assert column.part is not None  # noqa: S101 - asked of computed columns only
    return float(READ[column.part](datetime.fromisoformat(time).astimezone(zone_of(column.zone))))


def parts_of(
    contract: Contract, times: Sequence[str | None], field: Callable[[int], str]
) -> dict[str, np.ndarray]:
    """The computed inputs of requests with these event times, float64 of shape (n,).

    Raises RequestError, with `field` of the first row that has no time, or none in the zone.
    """
    if not contract.computed:
        return {}
    rows = [_row(contract, time, field, index) for index, time in enumerate(times)]
    return {
        column.name: np.array(values)
        for column, values in zip(contract.computed, zip(*rows, strict=True), strict=True)
    }


def _row(
    contract: Contract, time: str | None, field: Callable[[int], str], index: int
) -> list[float]:
    if time is None:
        raise RequestError(needed(contract), field(index))
    try:
        return [part_of(time, column) for column in contract.computed]
    except OverflowError:
        raise RequestError("is outside the years 1 to 9999 of the zone", field(index)) from None


def needed(contract: Contract) -> str:
    """What to tell a client who sends no event time."""
    names = ", ".join(column.name for column in contract.computed)
    return f"is missing; it is required, because {contract.model} computes {names} from it"


def parts_of_series(times: Any, column: ContractColumn) -> np.ndarray:
    """The part of each of a pandas series of times in UTC; NaN where there is none."""
    import pandas as pd

    # A zone's name alone would mean pytz, whose rules end in 2037.
    local = pd.to_datetime(pd.Series(times), utc=True).dt.tz_convert(zone_of(column.zone))
    return np.asarray(getattr(local.dt, str(column.part)), dtype=np.float64)
