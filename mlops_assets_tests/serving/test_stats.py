import json
import math
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets_tests.waiting import eventually
from serving import stats as module
from serving.stats import LATENCY_BOUNDS, Stats, VersionStats


def counts_of(stats: Stats, model: str = "m", version: str = "1") -> dict[str, Any]:
    found: dict[str, Any] = stats.snapshot()["models"][model]["versions"][version]
    return found


def files(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in folder.glob("*.json")]


OUTPUTS = st.lists(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    min_size=1,
    max_size=4,
)


@given(st.lists(st.tuples(OUTPUTS, st.floats(0, 10)), min_size=1, max_size=10))
def test_sums_histogram_and_extremes_are_those_of_what_was_answered(
    answers: list[tuple[list[list[float]], float]],
):
    counts = VersionStats()
    for outputs, seconds in answers:
        counts.answered(outputs, seconds)
    rows = [row for outputs, _ in answers for row in outputs]
    assert (counts.requests, counts.rows) == (len(answers), len(rows))
    assert math.isclose(counts.latency_sum, sum(seconds for _, seconds in answers))
    assert counts.output_min == [min(column) for column in zip(*rows, strict=True)]
    assert counts.output_max == [max(column) for column in zip(*rows, strict=True)]
    edges = (-1.0, *LATENCY_BOUNDS, math.inf)
    assert counts.latency_counts == [
        sum(low < seconds <= high for _, seconds in answers) for low, high in pairwise(edges)
    ]


def test_counting_from_many_threads_loses_nothing_while_snapshots_are_made():
    stats = Stats()

    def count(worker: int) -> None:
        for number in range(300):
            # New versions appear while others are counted.
            counts = stats.version(f"m{worker % 2}", str(number * (worker < 3)))
            with stats.lock:
                counts.answered([[0.5]], 0.001)
            stats.refused("m", 422)
            stats.shadow_dropped("m", 2)

    threads = [threading.Thread(target=count, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        stats.snapshot()
    found = stats.snapshot()
    requests = [
        one["requests"]
        for model in ("m0", "m1")
        for one in found["models"][model]["versions"].values()
    ]
    assert sum(requests) == 6 * 300
    assert found["refused"] == {"m": {"422": 6 * 300}}
    assert found["models"]["m"]["shadow_dropped"] == 2 * 6 * 300


def test_a_version_that_is_counted_for_the_first_time_waits_for_a_snapshot():
    stats = Stats()
    counting = threading.Thread(target=stats.version, args=("m", "1"))
    with stats.lock:
        counting.start()
        counting.join(0.05)
        assert counting.is_alive()
    counting.join()
    assert counts_of(stats)["requests"] == 0


def test_the_snapshot_says_all_that_was_counted(tmp_path: Path):
    stats = Stats(tmp_path)
    counts = stats.version("m", "1")
    with stats.lock:
        counts.answered([[0.25, 0.75]], 0.002)
        counts.exceptions += 1
        counts.unknown_categories["carrier"] = 3
    stats.refused("", 404)
    stats.swapped("m", 0.5)
    stats.swapped("m", 0.25)
    stats.write()
    (found,) = files(tmp_path)
    assert found["refused"] == {"": {"404": 1}}
    assert (found["models"]["m"]["swaps"], found["models"]["m"]["swap_seconds"]) == (2, 0.25)
    version = found["models"]["m"]["versions"]["1"]
    assert version == counts_of(stats)
    assert version["latency_le"] == list(LATENCY_BOUNDS)
    assert len(version["latency_counts"]) == len(LATENCY_BOUNDS) + 1
    assert (version["requests"], version["rows"], version["exceptions"]) == (1, 1, 1)
    assert version["unknown_categories"] == {"carrier": 3}
    assert (version["output_min"], version["output_max"]) == ([0.25, 0.75], [0.25, 0.75])
    assert abs(found["at"] - time.time()) < 60
    assert found["started"] <= found["at"]


def test_the_file_is_written_only_when_something_changed(tmp_path: Path):
    stats = Stats(tmp_path)
    stats.refused("m", 422)
    stats.write()
    (path,) = tmp_path.iterdir()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    stats.write()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    stats.refused("m", 422)
    stats.write()
    assert files(tmp_path)[0]["refused"]["m"]["422"] == 2


def test_each_process_has_a_file_of_its_own_and_none_without_a_folder(tmp_path: Path):
    one = Stats(tmp_path)
    time.sleep(0.002)
    another = Stats(tmp_path)
    for stats in (one, another, Stats()):
        stats.refused("m", 422)
        stats.write()
    assert [found["refused"]["m"]["422"] for found in files(tmp_path)] == [1, 1]


def test_counts_are_written_in_the_background_also_after_a_time_without_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "SNAPSHOT_SECONDS", 0.01)
    folder = tmp_path / "stats"
    folder.write_text("a file where the folder should be")
    stats = Stats(folder)
    stats.refused("m", 503)
    stats.start()
    time.sleep(0.1)
    folder.unlink()
    eventually(lambda: folder.is_dir() and files(folder))
    stats.stop()
    assert files(folder)[0]["refused"] == {"m": {"503": 1}}
