import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.errors import DataError
from mlops_assets.stores.lake import Lake, content_hash

PERIODS = ("2024-01-01-05:00", "2024-01-08", "2024-01-15")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "a lake"))


def rows(values: list[Any], **more: list[Any]) -> pa.Table:
    return pa.table({"a": values, **more})


def read(lake: Lake, **options: Any) -> list[Any]:
    return sorted(lake.read("m", "t", **options)["a"].to_pylist(), key=str)


EVERYTHING = pa.Table.from_pandas(
    pd.DataFrame(
        {
            "number": [1.5, np.nan, -0.0],
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "text": ["x", None, ""],
            "truth": pd.array([True, None, False], dtype="boolean"),
            "time": pd.to_datetime(
                ["2024-01-01 05:00:00.123456789", None, "2024-01-02 00:00:00.0"]
            ),
            "zoned": pd.to_datetime(["2024-01-01", None, "2024-01-02"]).tz_localize("Asia/Tokyo"),
            "code": pd.Categorical(["b", "a", None]),
            "nothing": [None, None, None],
        }
    ),
    preserve_index=False,
)


def test_the_same_rows_of_every_type_change_nothing(lake: Lake):
    first = lake.write_period("m", "t", PERIODS[0], EVERYTHING)
    version = lake.version("m", "t")
    again = lake.write_period("m", "t", PERIODS[0], EVERYTHING)
    assert (first.changed, again.changed) == (True, False)
    assert (first.content_hash, first.rows) == (again.content_hash, 3)
    assert lake.version("m", "t") == version


def test_what_is_read_and_written_again_changes_nothing(lake: Lake):
    first = lake.write_period("m", "t", PERIODS[0], EVERYTHING)
    back = lake.read("m", "t", periods=[PERIODS[0]])
    assert back["time"].to_pylist()[0] == datetime(2024, 1, 1, 5, 0, 0, 123456, tzinfo=UTC)
    again = lake.write_period("m", "t", PERIODS[0], back)
    assert (again.changed, again.content_hash) == (False, first.content_hash)


cells = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(allow_nan=False), st.just(float("nan"))),
        st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)),
        st.one_of(st.none(), st.booleans()),
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    ),
    max_size=12,
)
SCHEMA = pa.schema([("f", pa.float64()), ("s", pa.string()), ("b", pa.bool_()), ("i", pa.int64())])


def as_table(data: list[tuple[Any, ...]]) -> pa.Table:
    columns = [[row[place] for row in data] for place in range(4)]
    arrays = [pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


@settings(max_examples=100, deadline=None)
@given(cells, cells, st.integers(0, 12))
def test_the_hash_is_that_of_the_values_and_not_of_their_place_in_memory(
    one: list[tuple[Any, ...]], other: list[tuple[Any, ...]], cut: int
):
    table = as_table(one)
    whole = as_table(other + one)
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    assert content_hash(whole.slice(len(other))) == content_hash(table)
    assert content_hash(chunked) == content_hash(table)
    same = repr(one) == repr(other)
    assert (content_hash(as_table(other)) == content_hash(table)) == same


def test_the_hash_knows_names_types_and_missing_values():
    one = pa.table({"a": [1, 2]})
    others = [
        pa.table({"b": [1, 2]}),
        pa.table({"a": [1.0, 2.0]}),
        pa.table({"a": [2, 1]}),
        pa.table({"a": [1, 2, None]}),
        pa.table({"a": [1, None, 2]}),
        pa.table({"a": [1, 2], "b": [1, 2]}),
    ]
    assert len({content_hash(table) for table in [one, *others]}) == 7


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(PERIODS), st.lists(st.integers(0, 9), max_size=3)), max_size=6
    )
)
def test_a_period_holds_what_was_written_to_it_last(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[str, list[int]]]
):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    expected: dict[str, list[int]] = {}
    for period, values in writes:
        table = pa.table({"a": pa.array(values, pa.int64())})
        written = lake.write_period("m", "t", period, table)
        assert written.changed == (expected.get(period, []) != values)
        expected[period] = values
        for key, content in expected.items():
            assert read(lake, periods=[key]) == sorted(content)
    assert lake.periods("m", "t") == tuple(sorted(key for key in expected if expected[key]))


def test_an_old_version_stays_readable(lake: Lake):
    lake.write_period("m", "t", PERIODS[1], rows([1]))
    before = lake.version("m", "t")
    lake.write_period("m", "t", PERIODS[1], rows([2]))
    lake.write_period("m", "t", PERIODS[2], rows([3]))
    assert read(lake) == [2, 3]
    assert read(lake, version=before) == [1]
    assert read(lake, version=before, periods=[PERIODS[2]]) == []


def test_an_empty_period_is_written_and_empties_what_was_there(lake: Lake):
    empty = pa.table({"a": pa.array([], pa.int64())})
    assert lake.write_period("m", "t", PERIODS[1], empty).rows == 0
    assert read(lake, periods=[PERIODS[1]]) == []
    lake.write_period("m", "t", PERIODS[1], rows([1]))
    assert lake.write_period("m", "t", PERIODS[1], empty).changed
    assert read(lake) == []
    assert lake.periods("m", "t") == ()


def test_a_table_that_was_never_written_says_so(lake: Lake):
    assert not lake.exists("m", "t")
    assert lake.schema("m", "t") == {}
    assert lake.periods("m", "t") == ()
    assert lake.position("m", "t", "s") == 0


def test_a_new_column_is_empty_in_older_periods_and_does_not_change_them(lake: Lake):
    lake.write_period("m", "t", PERIODS[1], rows([1]))
    lake.write_period("m", "t", PERIODS[2], rows([2], b=["new"]))
    assert lake.read("m", "t", periods=[PERIODS[1]])["b"].to_pylist() == [None]
    assert not lake.write_period("m", "t", PERIODS[1], rows([1])).changed
    assert lake.write_period("m", "t", PERIODS[1], rows([1], b=["x"])).changed
    assert lake.write_period("m", "t", PERIODS[1], rows([1])).changed


def test_numbers_take_the_tables_type_where_they_fit(lake: Lake):
    lake.write_period("m", "t", PERIODS[1], rows([1, 2]))
    lake.write_period("m", "t", PERIODS[2], rows([3.0, None]))
    assert lake.read("m", "t")["a"].type == pa.int64()
    assert not lake.write_period("m", "t", PERIODS[2], rows([3.0, None])).changed
    lake.write_period("m", "t", PERIODS[2], pa.table({"a": pa.nulls(2)}))
    assert read(lake, periods=[PERIODS[2]]) == [None, None]


@pytest.mark.parametrize("values", [[1.5], ["x"], [True]])
def test_a_value_that_would_change_on_its_way_is_refused(lake: Lake, values: list[Any]):
    lake.write_period("m", "t", PERIODS[1], rows([1]))
    with pytest.raises(DataError, match="column 'a' of table t holds int64"):
        lake.write_period("m", "t", PERIODS[2], rows(values))
    assert read(lake) == [1]


def test_many_periods_are_one_commit_and_only_those_that_changed_are_written(lake: Lake):
    content = {period: rows([place, place + 1]) for place, period in enumerate(PERIODS)}
    first = lake.write_periods("m", "t", content)
    assert [written.changed for written in first.values()] == [True] * 3
    version, held = lake.version("m", "t"), lake.held("m", "t")
    again = lake.write_periods("m", "t", content | {PERIODS[1]: rows([9])})
    assert [written.changed for written in again.values()] == [False, True, False]
    assert lake.version("m", "t") == version + 1
    now = lake.held("m", "t")
    assert [now[period] == held[period] for period in PERIODS] == [True, False, True]
    assert [read(lake, periods=[period]) for period in PERIODS] == [[0, 1], [9], [2, 3]]
    assert {p: w.content_hash for p, w in again.items()} == {
        p: lake.write_period("m", "t", p, part).content_hash
        for p, part in (content | {PERIODS[1]: rows([9])}).items()
    }


def test_of_many_periods_none_is_written_if_one_does_not_fit(lake: Lake):
    lake.write_period("m", "t", PERIODS[0], rows([1]))
    with pytest.raises(DataError, match="holds int64, but new rows bring string"):
        lake.write_periods("m", "t", {PERIODS[1]: rows([2]), PERIODS[2]: rows(["x"])})
    assert lake.periods("m", "t") == PERIODS[:1]
    assert lake.write_periods("m", "t", {}) == {}


def test_a_column_that_only_some_of_many_periods_have_is_empty_in_the_others(lake: Lake):
    lake.write_periods("m", "t", {PERIODS[0]: rows([1]), PERIODS[1]: rows([2], b=["x"])})
    assert lake.read("m", "t").sort_by("a")["b"].to_pylist() == [None, "x"]


def test_the_log_tells_how_many_rows_a_file_has_and_nothing_of_its_values(lake: Lake):
    lake.write_period("m", "t", PERIODS[0], rows([1, 2], b=["x", "y"]))
    log = "".join(p.read_text() for p in Path(lake.path("m", "t"), "_delta_log").glob("*.json"))
    assert '\\"numRecords\\":2' in log
    assert '\\"minValues\\":{}' in log or "minValues" not in log


def test_an_append_happens_once(lake: Lake):
    assert lake.append_once("m", "t", rows([1]), source="s", position=10)
    assert not lake.append_once("m", "t", rows([1]), source="s", position=10)
    assert not lake.append_once("m", "t", rows([0]), source="s", position=4)
    assert lake.append_once("m", "t", rows([2]), source="s", position=20)
    assert lake.append_once("m", "t", rows([3]), source="other", position=10)
    assert read(lake) == [1, 2, 3]
    assert (lake.position("m", "t", "s"), lake.position("m", "t", "other")) == (20, 10)


def test_appended_rows_lie_in_their_periods(lake: Lake):
    table = rows([1, 2], period=[PERIODS[1], PERIODS[2]])
    lake.append_once("m", "t", table, source="s", position=1)
    assert read(lake, periods=[PERIODS[2]]) == [2]
    assert lake.periods("m", "t") == PERIODS[1:]


def _die_after_append(root: str) -> None:
    Lake(root).append_once("m", "t", rows([1, 2]), source="s", position=7)
    os._exit(9)


def test_what_a_table_holds_is_told_without_reading_it(lake: Lake):
    assert lake.held("m", "t") == {}
    for period in PERIODS:
        lake.write_period("m", "t", period, rows([1, 2, 3]))
    before = lake.held("m", "t")
    assert {period: held.rows for period, held in before.items()} == dict.fromkeys(PERIODS, 3)
    lake.write_period("m", "t", PERIODS[1], rows([1, 2, 3]))
    assert lake.held("m", "t") == before, "equal content is not written again"
    lake.write_period("m", "t", PERIODS[1], rows([1, 2, 4, 5]))
    after = lake.held("m", "t")
    assert after[PERIODS[1]].rows == 4
    changed = {p for p in PERIODS if after[p].digest != before[p].digest}
    assert changed == {PERIODS[1]}


def test_a_writer_killed_after_its_commit_and_run_again_appends_once(lake: Lake):
    process = get_context("spawn").Process(target=_die_after_append, args=(lake.root,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert not lake.append_once("m", "t", rows([1, 2]), source="s", position=7)
    assert read(lake) == [1, 2]


def test_a_writer_killed_before_its_commit_leaves_no_row(lake: Lake):
    lake.append_once("m", "t", rows([1]), source="s", position=1)
    # What a kill between data and commit leaves: a file that no commit names.
    folder = Path(lake.path("m", "t"))
    data = next(folder.glob("*.parquet"))
    (folder / f"part-9{data.name}").write_bytes(data.read_bytes())
    assert read(lake) == [1]
    assert lake.append_once("m", "t", rows([2]), source="s", position=2)
    assert read(lake) == [1, 2]


def _append(job: tuple[str, str, int]) -> int:
    root, source, value = job
    return int(Lake(root).append_once("m", "t", rows([value]), source=source, position=1))


def _write(job: tuple[str, str, int]) -> int:
    root, period, value = job
    return int(Lake(root).write_period("m", "q", period, rows([value])).changed)


def _begin(job: tuple[str, str, int]) -> int:
    root, table, value = job
    return int(Lake(root).append_once("m", table, rows([value]), source=f"s{value}", position=1))


def test_four_processes_at_once_lose_and_double_nothing(lake: Lake):
    root = lake.root
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        apart = pool.map(_append, [(root, f"s{number}", number) for number in range(16)])
        assert sum(apart) == 16
        assert read(lake) == sorted(range(16), key=str)
        same = pool.map(_append, [(root, "same", 99)] * 16)
        assert sum(same) == 1
        assert read(lake).count(99) == 1
        periods = [f"2024-01-{number:02d}" for number in range(1, 9)]
        assert sum(pool.map(_write, [(root, key, 1) for key in periods])) == 8
        assert lake.periods("m", "q") == tuple(periods)
        list(pool.map(_write, [(root, periods[0], number) for number in range(8)]))
        assert lake.read("m", "q", periods=periods[:1]).num_rows == 1
        tables = [f"new{number}" for number in range(16)]
        made = pool.map(_begin, [(root, table, value) for table in tables for value in range(4)])
        assert sum(made) == 4 * len(tables)
        assert [lake.read("m", table).num_rows for table in tables] == [4] * len(tables)


def test_no_periods_are_no_rows_and_all_periods_are_all(lake: Lake):
    lake.write_period("m", "t", PERIODS[0], rows([1]))
    lake.write_period("m", "t", PERIODS[1], rows([2], b=["x"]))
    assert read(lake, periods=[]) == []
    assert read(lake, periods=PERIODS) == [1, 2]
    assert lake.read("m", "t", periods=PERIODS[1:2], columns=["b"]).to_pylist() == [{"b": "x"}]


def test_batches_hold_the_rows_of_the_periods_also_where_a_file_lacks_a_column(lake: Lake):
    first, second, third = PERIODS
    lake.write_period("m", "t", first, rows([1, 2, 3], kind=["x", None, "y"]))
    lake.write_period("m", "t", second, rows([4], late=[0.5], kind=["x"]))
    lake.write_period("m", "t", third, rows([5], late=[0.5], kind=["x"]))

    def found(**options: Any) -> list[dict[str, Any]]:
        batches = lake.batches(
            "m", "t", columns=["a", "late", "kind"], dictionaries=["kind"], **options
        )
        return sorted((row for one in batches for row in one.to_pylist()), key=lambda r: r["a"])

    assert found(periods=[first, second]) == [
        {"a": 1, "late": None, "kind": "x"},
        {"a": 2, "late": None, "kind": None},
        {"a": 3, "late": None, "kind": "y"},
        {"a": 4, "late": 0.5, "kind": "x"},
    ]
    assert [row["a"] for row in found(periods=PERIODS, where=ds.field("kind") == "x")] == [1, 4, 5]
    assert found(periods=["2030-01-01"]) == []
