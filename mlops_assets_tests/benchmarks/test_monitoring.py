import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.monitoring import cells, data, tables
from benchmarks.monitoring.false_alarms import trial


def test_unchanged_reports_stay_within_the_budget_at_every_size():
    sizes: dict[str, Any] = {"references": (500, 5_000), "periods": (200, 2_000, 20_000)}
    found = [trial(seed, **sizes, rate=0.05) for seed in range(40)]
    for cell in found[0]:
        flagged = sum(bool(one[cell]) for one in found)
        # 2 of 40 are the budget; more than 8 have a probability below 0.1%.
        assert flagged <= 8, (cell, [one[cell] for one in found])
    everything = sum(bool(flags) for one in found for flags in one.values())
    assert everything <= 0.05 * 40 * len(found[0])


def test_a_cell_is_measured_in_a_process_of_its_own(tmp_path: Path):
    data.write(tmp_path / "lake", 4, [300, 3_000])
    found = cells.run("ours", tmp_path / "lake", 3_000, 120)
    assert found["rows"] == 3_000
    assert found["flagged"] == 0
    assert found["page_bytes"] > 1_000_000
    assert found["seconds"] > found["read_seconds"] + found["draw_seconds"] > 0
    assert 100 < found["peak_megabytes"] < 2_000


def test_a_cell_that_takes_too_long_is_ended_and_the_larger_ones_are_not_begun(tmp_path: Path):
    data.write(tmp_path / "lake", 2, [300])
    slow = cells.run("evidently", tmp_path / "lake", 300, 0.5)
    assert slow == {"skipped": "more than 0 s", "limit": 0.5}
    assert cells._skip({"rows": 300, **slow}, 3_000, 0.5) == "300 rows were not done in time"


def test_a_cell_is_skipped_where_the_one_before_shows_that_it_takes_too_long():
    before = {"rows": 100_000, "seconds": 30.0, "read_seconds": 1.0, "judge_seconds": 20.0}
    assert cells._skip(before, 1_000_000, 90) == "about 219 s expected"
    assert cells._skip(before, 200_000, 90) == ""


def test_a_process_that_fails_is_an_error(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"contract\.json"):
        cells.run("ours", tmp_path, 300, 60)


def cell(rows: int, seconds: float, megabytes: float) -> dict[str, Any]:
    parts = {"read_seconds": seconds / 2, "judge_seconds": 0.1, "draw_seconds": 5.0}
    costs = {"seconds": seconds, "cpu_seconds": seconds, "peak_megabytes": megabytes}
    return {"who": "ours", "rows": rows, "columns": 50, "flagged": 0, **parts, **costs}


def test_goals_are_judged_by_the_figures():
    alarms = {
        "reference_rows": 500, "period_rows": 200, "min_effect": 0.0,
        "budget": 0.05, "reports": 100, "flagged": 4, "what": [],
    }  # fmt: skip
    good = tables.goals([cell(1_000_000, 9, 700), cell(10_000_000, 20, 740)], [alarms])
    assert [one["met"] for one in good] == [True] * 5
    bad = tables.goals(
        [cell(1_000_000, 31, 2_100), cell(10_000_000, 400, 9_000)], [alarms | {"flagged": 20}]
    )
    assert [one["met"] for one in bad] == [False] * 5
    assert "MISSED  1M x 50 in less than 30 s: 31 s (limit 30)" in tables.goals_table(bad)
    assert "4.0%" in tables.false_alarms([alarms])
    skipped = {"who": "evidently", "rows": 10, "columns": 50, "skipped": "as above"}
    assert "not measured: as above" in tables.costs([skipped])
    assert json.dumps(good)


def test_the_command_explains_itself():
    command = [sys.executable, "-m", "benchmarks.monitoring", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--quick" in told
