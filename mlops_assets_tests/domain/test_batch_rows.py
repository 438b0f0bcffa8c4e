from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.batch_rows import check_rows, check_types
from mlops_assets.domain.coded import Coded
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import DataError, RequestError
from mlops_assets.domain.requests import RequestParser

COLUMNS = (
    ContractColumn("number", "number", nullable=True),
    ContractColumn("count", "integer", nullable=False),
    ContractColumn("kind", "category", nullable=True),
    ContractColumn("zone", "category", nullable=False),
    ContractColumn("open", "boolean", nullable=True),
)
CONTRACT = Contract("m", "regression", COLUMNS, (), "", "", 1000)
GOOD = {"number": 1.5, "count": 3.0, "kind": "x", "zone": "near", "open": True}
SCHEMA = pa.schema(
    [
        ("number", pa.float64()),
        ("count", pa.float64()),
        ("kind", pa.string()),
        ("zone", pa.string()),
        ("open", pa.bool_()),
    ]
)
VALUES = {
    "number": st.none() | st.floats(allow_nan=False),
    "count": st.none() | st.floats(allow_nan=False) | st.integers(-9, 9).map(float),
    "kind": st.none() | st.text(max_size=3) | st.just(MISSING_CATEGORY),
    "zone": st.none() | st.sampled_from(["near", "far\0", ""]),
    "open": st.none() | st.booleans(),
}


def batch(rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def texts(column: Any) -> list[Any]:
    return list(column.texts() if isinstance(column, Coded) else column)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=12))
def test_a_row_is_good_exactly_if_a_request_with_it_is(rows: list[dict[str, Any]]):
    parser = RequestParser(CONTRACT)
    accepted = []
    for row in rows:
        try:
            accepted.append(parser.parse({"records": [row]}))
        except RequestError as error:
            accepted.append(error)
    checked = check_rows(batch(rows), CONTRACT)
    good = np.ones(len(rows), bool) if checked.good is None else checked.good
    assert good.tolist() == [not isinstance(found, RequestError) for found in accepted]
    # The columns are what the request would have been scored with, and the reasons name a field.
    for name in GOOD:
        expected = [
            found.columns[name][0] for found in accepted if not isinstance(found, RequestError)
        ]
        np.testing.assert_array_equal(texts(checked.columns[name]), expected)
    refused = [found for found in accepted if isinstance(found, RequestError)]
    assert len(checked.reasons) == len(refused)
    for reason, error in zip(checked.reasons, refused, strict=True):
        assert f"{error.field.partition('.')[2]}: " in reason
    assert sum(checked.failures.values()) == sum(r.count("; ") + 1 for r in checked.reasons)


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        ("number", pa.array([1, None], pa.int8()), [1.0, np.nan]),
        ("number", pa.array([1.5, float("nan")], pa.float32()), [1.5, np.nan]),
        ("number", pa.array([None, None]), [np.nan, np.nan]),
        ("open", pa.array([0, 1], pa.uint8()), [0.0, 1.0]),
        ("kind", pa.array(["x", None]).dictionary_encode(), ["x", MISSING_CATEGORY]),
        ("kind", pa.array(["x", None], pa.large_string()), ["x", MISSING_CATEGORY]),
        ("kind", pa.array([None, None]), [MISSING_CATEGORY, MISSING_CATEGORY]),
        ("kind", pa.array([7, None], pa.int64()), ["7", MISSING_CATEGORY]),
        ("kind", pa.array([7.0, 7.5]), ["7", "7.5"]),
    ],
)
def test_columns_come_in_many_types(name: str, array: pa.Array, expected: list[Any]):
    table = batch([GOOD, GOOD])
    place = table.schema.get_field_index(name)
    table = table.set_column(place, name, array)
    check_types(table.schema, CONTRACT)
    checked = check_rows(table, CONTRACT)
    assert checked.good is None
    np.testing.assert_array_equal(texts(checked.columns[name]), expected)


def test_whole_numbers_beyond_what_a_double_holds_are_refused():
    schema = SCHEMA.set(1, pa.field("count", pa.int64()))
    rows = [{**GOOD, "count": value} for value in (2**53, 2**53 + 2, -(2**60))]
    checked = check_rows(batch(rows, schema), CONTRACT)
    assert checked.good is not None
    assert checked.good.tolist() == [True, False, False]


def test_a_row_has_every_reason():
    row = {**GOOD, "number": float("inf"), "count": 1.5, "zone": None}
    checked = check_rows(batch([GOOD, row]), CONTRACT)
    assert checked.reasons == (
        "number: not finite; count: no whole number between -2^53 and 2^53; "
        "zone: missing, but not nullable",
    )


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (SCHEMA.remove(0), "no column 'number'; they have count"),
        (SCHEMA.set(0, pa.field("number", pa.string())), "'number' holds string"),
        (SCHEMA.set(0, pa.field("number", pa.bool_())), "'number' holds bool"),
        (SCHEMA.set(2, pa.field("kind", pa.list_(pa.int8()))), "'kind' holds list"),
        (SCHEMA.set(4, pa.field("open", pa.timestamp("us"))), "'open' holds timestamp"),
    ],
)
def test_a_table_of_another_kind_is_refused_at_once(schema: pa.Schema, message: str):
    with pytest.raises(DataError, match=message):
        check_types(schema, CONTRACT)
