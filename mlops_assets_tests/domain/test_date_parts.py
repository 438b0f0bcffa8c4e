from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.batch_rows import check_rows, check_types
from mlops_assets.domain.column_requests import ColumnParser
from mlops_assets.domain.contract import Contract, ContractColumn, TimePart
from mlops_assets.domain.date_parts import part_of, parts_of_series
from mlops_assets.domain.errors import DataError, RequestError
from mlops_assets.domain.features import model_frame
from mlops_assets.domain.requests import RequestParser

ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
CONTRACT = Contract(
    model="m",
    task="regression",
    columns=(
        ContractColumn("n", "number", nullable=True),
        ContractColumn("hour", "integer", False, "hour", "America/New_York"),
        ContractColumn("day", "integer", False, "weekday"),
    ),
    classes=(),
    entity="id",
    event_time="at",
    max_rows=100,
)
TIME = "2024-03-10T07:30:00+00:00"  # half an hour after New York's clocks went forward


@pytest.mark.parametrize(
    ("part", "zone", "expected"),
    [
        ("hour", "UTC", 7),
        ("hour", "America/New_York", 3),
        ("weekday", "UTC", 6),
        ("month", "UTC", 3),
        ("weekday", "Pacific/Kiritimati", 6),
        ("hour", "Asia/Kolkata", 13),
    ],
)
def test_a_part_is_that_of_the_zones_clocks(part: TimePart, zone: str, expected: int):
    assert part_of(TIME, ContractColumn("x", "integer", False, part, zone)) == expected


@given(
    time=st.datetimes(datetime(1980, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),
    part=st.sampled_from(["hour", "weekday", "month"]),
    zone=st.sampled_from(ZONES),
)
def test_a_request_and_a_table_have_the_same_parts(time: datetime, part: TimePart, zone: str):
    column = ContractColumn("x", "integer", False, part, zone)
    assert parts_of_series(pd.Series([time]), column) == [part_of(time.isoformat(), column)]


def by_record(**record: Any) -> Any:
    return RequestParser(CONTRACT).parse({"records": [record]})


def by_column(**columns: Any) -> Any:
    return ColumnParser(CONTRACT).parse(columns)


def test_every_way_in_computes_the_same():
    first = by_record(n=1.0, at="2024-03-10T08:30:00+01:00").columns
    second = by_column(n=[1.0], at=["2024-03-10T07:30:00Z"]).columns
    times = pd.to_datetime(pd.Series([TIME]))
    third = model_frame({"n": [1.0], "event_time": times}, CONTRACT.columns)
    batch = pa.RecordBatch.from_pydict({"n": [1.0], "at": times.to_list()})
    check_types(batch.schema, CONTRACT)
    fourth = check_rows(batch, CONTRACT).columns
    for found in (first, second, third, fourth):
        assert list(found) == ["n", "hour", "day"]
        assert [float(found[name][0]) for name in found] == [1.0, 3.0, 6.0]


@pytest.mark.parametrize("record", [{"n": 1.0}, {"n": 1.0, "at": None}])
def test_a_record_without_the_time_is_refused(record: dict[str, Any]):
    with pytest.raises(RequestError, match="required, because m computes hour, day") as found:
        by_record(**record)
    assert found.value.field == "records[0].at"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00", "0001-01-01T04:00:00Z"])
def test_a_time_that_the_zone_does_not_have_is_refused(time: str):
    with pytest.raises(RequestError, match="outside the years 1 to 9999") as found:
        by_record(n=1.0, at=time)
    assert found.value.field == "records[0].at"


def test_columns_without_the_time_are_refused():
    with pytest.raises(RequestError, match="required, because m computes hour, day") as found:
        by_column(n=[1.0])
    assert found.value.field == "at"
    with pytest.raises(RequestError, match="required") as found:
        by_column(n=[1.0, 2.0], at=[TIME, None])
    assert found.value.field == "at[1]"


def test_a_part_is_nothing_that_a_client_may_send():
    with pytest.raises(RequestError, match="is not a column of m; it has n"):
        by_record(n=1.0, at=TIME, hour=3)
    with pytest.raises(RequestError, match="is not a column of m; it has n"):
        by_column(n=[1.0], at=[TIME], hour=[3])


def test_rows_of_a_batch_without_a_time_are_set_apart():
    at = pa.array([datetime(2024, 1, 1, 5), None], pa.timestamp("us"))
    checked = check_rows(pa.record_batch({"n": [1.0, 2.0], "at": at}), CONTRACT)
    assert checked.reasons == ("at: missing, but inputs come from it",)
    np.testing.assert_array_equal(checked.columns["hour"], [0.0])
    with pytest.raises(DataError, match=r"no times in 'at' \(no such column\), which m needs"):
        check_types(pa.schema([("n", pa.float64())]), CONTRACT)


def test_a_contract_without_parts_reads_as_before():
    old = CONTRACT.to_json().replace(b'"part": "hour",', b"").replace(b'"part": "weekday",', b"")
    assert not Contract.from_json(old).computed
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT
