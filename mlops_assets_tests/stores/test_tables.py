import pyarrow as pa
import pytest

from mlops_assets.domain.errors import DataError
from mlops_assets.stores.tables import fitted, storable, to_frame


def test_whole_numbers_and_truth_stay_what_they_are_beside_missing_values():
    frame = to_frame(pa.table({"i": [2**53 + 1, None], "b": [True, None], "f": [1.5, None]}))
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "boolean", "float64"]
    assert frame["i"][0] == 2**53 + 1
    assert frame["i"].astype(str).tolist()[0] == str(2**53 + 1)


def test_a_frame_without_gaps_has_plain_types():
    frame = to_frame(pa.table({"i": [1, 2], "b": [True, False]}))
    assert [str(kind) for kind in frame.dtypes] == ["int64", "bool"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (pa.array([1], pa.timestamp("ns")), pa.timestamp("us", tz="UTC")),
        (pa.array([1], pa.timestamp("s", tz="Asia/Tokyo")), pa.timestamp("us", tz="UTC")),
        (pa.array(["a"], pa.large_string()), pa.string()),
        (pa.array(["a"]).dictionary_encode(), pa.string()),
        (pa.nulls(1), pa.string()),
        (pa.array([1], pa.uint8()), pa.int64()),
        (pa.array([1], pa.decimal128(9, 2)), pa.float64()),
        (pa.array([1], pa.int32()), pa.int32()),
    ],
)
def test_types_that_would_not_survive_are_brought_to_one_that_does(given: pa.Array, kept: object):
    assert storable(pa.table({"a": given})).schema.field("a").type == kept


def test_rows_that_fit_keep_order_and_values():
    found = fitted(
        pa.table({"a": [1.0], "new": ["x"]}),
        pa.schema([("other", pa.string()), ("a", pa.int64())]),
        "t",
    )
    assert found.to_pylist() == [{"a": 1, "new": "x"}]


def test_a_number_too_large_for_the_tables_type_is_refused():
    with pytest.raises(DataError, match="column 'a' of table t holds int32"):
        fitted(pa.table({"a": [2**40]}), pa.schema([("a", pa.int32())]), "t")
