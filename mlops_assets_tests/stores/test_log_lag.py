import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.stores.log_lag import LogLag, log_lag, torn_bytes, write_positions
from mlops_assets.stores.prediction_log import SegmentWriter, read_from
from mlops_assets_tests.stores.test_prediction_log import logged


def test_without_a_log_nothing_is_pending(tmp_path: Path):
    assert log_lag(tmp_path / "nothing") == LogLag(0, 0)


def test_what_is_not_in_the_lake_is_pending(tmp_path: Path):
    writer = SegmentWriter(tmp_path, "s1")
    writer.append(logged(1))
    whole = writer.path.stat().st_size
    assert log_lag(tmp_path) == LogLag(whole, 0)
    write_positions(tmp_path, {"s1": whole})
    assert log_lag(tmp_path) == LogLag(0, 0)
    writer.append(logged(2))
    assert log_lag(tmp_path) == LogLag(writer.path.stat().st_size - whole, 0)
    writer.close()


@pytest.mark.parametrize("lines", [0, 1])
def test_a_torn_line_is_counted_and_pends_no_more_once_its_writer_is_gone(
    tmp_path: Path, lines: int
):
    writer = SegmentWriter(tmp_path, "s1")
    for number in range(lines):
        writer.append(logged(number))
    whole = writer.path.stat().st_size
    os.write(writer._handle, b'{"request_id": ')
    # Its writer may still complete it.
    assert torn_bytes(writer.path) == 0
    assert log_lag(tmp_path) == LogLag(whole + 15, 0)
    writer.close()
    assert torn_bytes(writer.path) == 15
    assert log_lag(tmp_path) == LogLag(whole, 1)
    write_positions(tmp_path, {"s1": read_from(writer.path, 0)[1]})
    assert log_lag(tmp_path) == LogLag(0, 1)


WRITE = """
import os, sys
from pathlib import Path
from mlops_assets.stores.prediction_log import SegmentWriter
writer = SegmentWriter(Path(sys.argv[1]), "s1")
os.write(writer._handle, b"torn")
print(flush=True)
sys.stdin.read()
"""


def test_a_writer_that_is_killed_lets_go_of_its_segment(tmp_path: Path):
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert log_lag(tmp_path).torn_lines == 0
        writer.send_signal(signal.SIGKILL)
    assert log_lag(tmp_path) == LogLag(0, 1)
