import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import DataError
from mlops_assets.stores.prediction_log import (
    LoggedRequest,
    SegmentWriter,
    read_from,
    segments,
    to_table,
)

CONTRACT = Contract(
    model="m",
    task="binary",
    columns=(ContractColumn("x", "number", True), ContractColumn("c", "category", True)),
    classes=("no", "yes"),
    entity="id",
    event_time="t",
    max_rows=10,
)


def logged(number: int, rows: int = 2) -> LoggedRequest:
    return LoggedRequest(
        request_id=f"r{number}",
        at="2026-01-01T00:00:00+00:00",
        version="3",
        variant="champion",
        latency_ms=0.5,
        ids=[f"r{number}-{row}" for row in range(rows)],
        entities=[None, "e"][:rows],
        event_times=["2013-06-01T12:00:00+00:00", None][:rows],
        features={"x": [1.5, None][:rows], "c": [MISSING_CATEGORY, "a"][:rows]},
        outputs=[[0.25, 0.75], [0.5, 0.5]][:rows],
    )


def test_what_is_appended_is_read_back_once(tmp_path: Path):
    writer = SegmentWriter(tmp_path, "s1")
    writer.append(logged(1))
    first, offset = read_from(writer.path, 0)
    writer.append(logged(2))
    second, end = read_from(writer.path, offset)
    writer.close()
    assert (first, second) == ([logged(1)], [logged(2)])
    assert read_from(writer.path, end) == ([], end)
    assert end == writer.path.stat().st_size


def test_a_torn_tail_waits_until_it_is_whole(tmp_path: Path):
    writer = SegmentWriter(tmp_path, "s1")
    writer.append(logged(1))
    size = writer.path.stat().st_size
    writer.append(logged(2))
    writer.close()
    whole = writer.path.read_bytes()
    for cut in range(size, len(whole)):
        writer.path.write_bytes(whole[:cut])
        assert read_from(writer.path, 0) == ([logged(1)], size)


def test_a_whole_line_that_is_no_record_is_an_error_that_names_its_place(tmp_path: Path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'{"request_id": 1}\n')
    with pytest.raises(DataError, match="line 1 after byte 0"):
        read_from(path, 0)


def test_a_full_segment_starts_the_next_one(tmp_path: Path):
    writer = SegmentWriter(tmp_path, "s1", limit=1000)
    for number in range(10):
        writer.append(logged(number))
    writer.close()
    found = [record for path in segments(tmp_path) for record in read_from(path, 0)[0]]
    assert sorted(record.request_id for record in found) == [f"r{n}" for n in range(10)]
    assert len(segments(tmp_path)) > 1
    assert all(path.stat().st_size <= 1000 for path in segments(tmp_path))


def test_a_write_that_fails_is_raised_and_the_next_goes_to_a_new_segment(tmp_path: Path):
    writer = SegmentWriter(tmp_path, "s1")
    writer.append(logged(1))
    os.close(writer._handle)
    writer._handle = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="space"):
        writer.append(logged(2))
    writer.append(logged(3))
    writer.close()
    assert writer.path.stem != "s1"
    assert read_from(writer.path, 0)[0] == [logged(3)]


@pytest.mark.parametrize("lines", [0, 1])
def test_a_segment_that_cannot_be_opened_leaves_the_writer_whole(tmp_path: Path, lines: int):
    folder = tmp_path / "log"
    writer = SegmentWriter(folder, "s1", limit=1)
    for number in range(lines):
        writer.append(logged(number))
    folder.rename(tmp_path / "away")
    for _ in range(3 * lines):
        with pytest.raises(FileNotFoundError):
            writer.append(logged(7))
    (tmp_path / "away").rename(folder)
    writer.append(logged(8))
    writer.close()
    found = [record for path in segments(folder) for record in read_from(path, 0)[0]]
    assert logged(8) in found
    assert len(found) == lines + 1


@given(counts=st.lists(st.integers(1, 2), max_size=6), limit=st.integers(1, 2000))
def test_reading_in_any_steps_gives_every_record_once(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], limit: int
):
    writer = SegmentWriter(tmp_path_factory.mktemp("log"), "s")
    written = [logged(number, rows) for number, rows in enumerate(counts)]
    for record in written:
        writer.append(record)
    writer.close()
    offset, found = 0, []
    while offset < writer.path.stat().st_size:
        some, offset = read_from(writer.path, offset, limit)
        assert some
        found += some
    assert found == written


def test_the_table_has_one_typed_row_per_prediction():
    import pyarrow as pa

    table = to_table([logged(1), logged(2, rows=1)], CONTRACT)
    assert table.column("prediction_id").to_pylist() == ["r1-0", "r1-1", "r2-0"]
    assert table.schema.field("event_time").type == pa.timestamp("us", "UTC")
    times = [time.isoformat() for time in table.column("event_time").to_pylist()]
    assert times[:2] == ["2013-06-01T12:00:00+00:00", "2026-01-01T00:00:00+00:00"]
    assert table.column("c").to_pylist() == [None, "a", None]
    assert table.column("x").to_pylist() == [1.5, None, 1.5]
    assert table.column("p_yes").to_pylist() == [0.75, 0.5, 0.75]
    # A tie goes to the lower class.
    assert table.column("prediction").to_pylist() == ["yes", "no", "yes"]
    assert table.column("model").to_pylist() == ["m"] * 3


def test_a_table_of_nothing_has_the_same_schema():
    assert to_table([], CONTRACT).schema == to_table([logged(1)], CONTRACT).schema


def test_outputs_of_another_contract_are_refused():
    other = Contract(**{**CONTRACT.__dict__, "classes": ("a", "b", "c")})
    with pytest.raises(DataError, match="2 outputs"):
        to_table([logged(1)], other)


def test_an_input_named_like_a_column_of_the_log_is_refused():
    clash = Contract(**{**CONTRACT.__dict__, "columns": (ContractColumn("model", "number", True),)})
    with pytest.raises(DataError, match="rename"):
        to_table([], clash)


def test_lines_are_plain_json(tmp_path: Path):
    writer = SegmentWriter(tmp_path)
    writer.append(logged(1))
    writer.close()
    assert json.loads(writer.path.read_text())["ids"] == ["r1-0", "r1-1"]
