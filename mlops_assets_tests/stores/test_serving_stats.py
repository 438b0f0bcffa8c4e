import json
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.guard import VersionStats
from mlops_assets.stores.serving_stats import SnapshotReader


def counts(requests: int, **more: Any) -> dict[str, Any]:
    return {
        "requests": requests,
        "rows": requests,
        "exceptions": 0,
        "invalid_outputs": 0,
        "fallbacks": 0,
        "latency_le": [0.001, 0.01],
        "latency_counts": [requests, 0, 0],
        "latency_sum": 0.1,
        "output_min": [0.25],
        "output_max": [0.5],
        "unknown_categories": {},
        "shadow_rows": 0,
        **more,
    }


def write(folder: Path, process: str, **versions: dict[str, Any]) -> None:
    content = {
        "pid": 1,
        "started": 1.5,
        "at": 2.5,
        "refused": {"": {"404": 1}},
        "models": {"m": {"versions": {name[1:]: found for name, found in versions.items()}}},
    }
    (folder / f"{process}.json").write_text(json.dumps(content))


def test_the_counts_of_all_processes_add_up(tmp_path: Path):
    write(tmp_path, "1-a", v4=counts(10, exceptions=2), v5=counts(1))
    write(tmp_path, "2-b", v4=counts(5, invalid_outputs=1, distinct_inputs=7))
    totals = SnapshotReader(tmp_path).totals()
    assert set(totals) == {("m", "4"), ("m", "5")}
    assert totals["m", "4"] == VersionStats(
        requests=15,
        rows=15,
        exceptions=2,
        invalid_outputs=1,
        latency_le=(0.001, 0.01),
        latency_counts=(15, 0, 0),
        output_min=(0.25,),
        output_max=(0.5,),
        distinct_inputs=7,
    )


def test_a_snapshot_that_changes_is_read_again_and_one_that_goes_counts_on(tmp_path: Path):
    reader = SnapshotReader(tmp_path)
    assert reader.totals() == {}
    write(tmp_path, "1-a", v4=counts(10))
    assert reader.totals()["m", "4"].requests == 10
    write(tmp_path, "1-a", v4=counts(200))
    assert reader.totals()["m", "4"].requests == 200
    (tmp_path / "1-a.json").unlink()
    assert reader.totals()["m", "4"].requests == 200


def test_an_unchanged_snapshot_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, "1-a", v4=counts(10))
    reader = SnapshotReader(tmp_path)
    before = reader.totals()
    monkeypatch.setattr(Path, "read_bytes", None)
    assert reader.totals() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"models": {"m": {"versions": {"4": {}}}}}'])
def test_a_damaged_snapshot_is_told_and_counts_with_what_it_said_last(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write(tmp_path, "1-a", v4=counts(10))
    reader = SnapshotReader(tmp_path)
    reader.totals()
    (tmp_path / "1-a.json").write_text(content)
    assert reader.totals()["m", "4"].requests == 10
    assert reader.totals()["m", "4"].requests == 10
    assert caplog.text.count("1-a.json cannot be read") == 1


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path):
    assert SnapshotReader(tmp_path / "none").totals() == {}
