import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.stores import prediction_log
from mlops_assets.stores.log_tail import LogTail
from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter, node_name


def answered(name: str) -> LoggedRequest:
    return LoggedRequest(name, "", "1", "champion", 0.1, [name], [None], [None], {}, [[0.5]])


def names(records: list[LoggedRequest]) -> list[str]:
    return [record.request_id for record in records]


def test_it_reads_what_is_appended_after_it_began_also_in_new_segments(tmp_path: Path):
    before, after = SegmentWriter(tmp_path), SegmentWriter(tmp_path, limit=200)
    before.append(answered("a"))
    tail = LogTail(tmp_path)
    assert tail.read() == []
    before.append_all([answered("b"), answered("c")])
    for number in range(5):
        after.append(answered(str(number)))
    assert len(list(tmp_path.iterdir())) > 2
    assert sorted(names(tail.read())) == ["0", "1", "2", "3", "4", "b", "c"]
    assert tail.read() == []
    before.close()
    after.close()


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path):
    writer = SegmentWriter(tmp_path)
    writer.append(answered("a"))
    content = writer.path.read_bytes()
    os.write(writer._handle, content[:20])
    tail = LogTail(tmp_path)
    assert tail.read() == []
    assert tail.leave_out(0) == 0
    os.write(writer._handle, content[20:])
    assert names(tail.read()) == ["a"]
    writer.close()


def test_other_nodes_and_other_writers_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tail = LogTail(tmp_path)
    shadow = SegmentWriter(tmp_path, writer=f"{node_name()}.shadow")
    shadow.append(answered("shadow"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(prediction_log, "node_name", lambda: "elsewhere")
        other = SegmentWriter(tmp_path)
    other.append(answered("other"))
    assert tail.read() == []
    shadow.close()
    other.close()


@given(st.integers(0, 30), st.integers(0, 4000))
def test_every_request_is_read_or_counted_as_left_out(
    tmp_path_factory: pytest.TempPathFactory, count: int, most: int
):
    folder = tmp_path_factory.mktemp("log")
    tail = LogTail(folder)
    writer = SegmentWriter(folder)
    writer.append_all([answered(str(number)) for number in range(count)])
    left_out = tail.leave_out(most)
    read = names(tail.read())
    assert read == [str(number) for number in range(left_out, count)]
    line = 150
    assert len(read) * 100 <= most + line
    writer.close()


def test_a_line_that_is_no_record_is_told_and_passed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    tail = LogTail(tmp_path)
    writer = SegmentWriter(tmp_path)
    os.write(writer._handle, b"{}\n")
    assert tail.read() == []
    assert "is no record" in caplog.text
    writer.append(answered("a"))
    assert names(tail.read()) == ["a"]
    writer.close()
