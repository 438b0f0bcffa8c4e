from dataclasses import replace

import pytest

from benchmarks.serving.cells import Result
from benchmarks.serving.goals import Verdict, judge
from benchmarks.serving.tables import goals, quietness, tables


def cell(server: str, rps: float, **changes: object) -> Result:
    base = Result(server, "boosting", 8, 1, rps, rps, 1.0, 2.0, 0.1, 50.0, 1.0, 0)
    return replace(base, **changes)  # type: ignore[arg-type]


def verdict(results: list[Result], goal: str) -> Verdict:
    found = [one for one in judge(results) if one.goal == goal]
    assert len(found) == 1, [one.goal for one in judge(results)]
    return found[0]


@pytest.mark.parametrize(("ours", "is_met"), [(500.0, True), (499.0, False)])
def test_half_of_the_limit_is_enough(ours: float, is_met: bool):
    got = verdict([cell("ours", ours), cell("limit", 1000.0)], "share of the limit at 8")
    assert got.is_met is is_met
    assert got.figure == ours / 1000


def test_the_best_peer_is_the_fastest_of_them_and_the_limit_is_none():
    results = [
        cell("ours", 1000.0),
        cell("limit", 5000.0),
        cell("mlflow", 40.0),
        cell("litserve", 101.0),
        cell("bentoml", 90.0),
    ]
    got = verdict(results, "times the best peer at 8")
    assert got.figure == pytest.approx(1000 / 101)
    assert got.is_met is False
    assert "litserve" in got.detail


def test_other_cells_do_not_count():
    results = [
        cell("ours", 1000.0),
        cell("mlflow", 10.0, concurrency=64),
        cell("mlflow", 10.0, model="forest"),
        cell("mlflow", 10.0, rows=1000),
    ]
    got = verdict(results, "times mlflow at 8")
    assert got.figure is None
    assert got.is_met is None


def test_the_tail_must_stay_under_three_times_the_limits():
    limit = cell("limit", 1.0, p99_ms=2.0)
    goal = "p99 at 8, times the limit's (at most)"
    assert verdict([cell("ours", 1.0, p99_ms=5.9), limit], goal).is_met is True
    assert verdict([cell("ours", 1.0, p99_ms=6.0), limit], goal).is_met is False
    assert verdict([cell("ours", 1.0, p99_ms=None), limit], goal).is_met is None


def test_bulk_is_judged_in_each_of_our_formats():
    results = [
        cell("ours", 90.0, rows=1000),
        cell("ours", 250.0, rows=1000, format="arrow"),
        cell("mlflow", 10.0, rows=1000),
    ]
    assert verdict(results, "times the best peer, 1000 rows as JSON records").is_met is False
    assert verdict(results, "times the best peer, 1000 rows as JSON columns").is_met is None
    assert verdict(results, "times the best peer, 1000 rows as Arrow").is_met is True


def test_one_failed_answer_of_ours_is_too_many():
    assert verdict([cell("ours", 9.0, errors=1)], "errors of ours").is_met is False
    assert verdict([cell("ours", 9.0), cell("mlflow", 9.0, errors=5)], "errors of ours").is_met
    assert verdict([cell("mlflow", 9.0)], "errors of ours").is_met is None


def test_a_peer_that_answers_nothing_gives_no_ratio():
    assert verdict([cell("ours", 9.0), cell("mlflow", 0.0)], "times mlflow at 8").figure is None


def test_the_table_shows_every_result_and_our_multiple_of_it():
    shown = tables([cell("ours", 1000.0), cell("mlflow", 40.0), cell("limit", 0.0, p99_ms=None)])
    lines = shown.splitlines()
    assert lines[0] == "boosting, 1 row per request"
    assert [line.split()[0] for line in lines[2:5]] == ["ours", "mlflow", "limit"]
    assert lines[3].endswith("25.00x")
    assert " - " in lines[4]


def test_every_goal_is_printed_with_its_figure_and_verdict():
    text = goals(judge([cell("ours", 1000.0), cell("mlflow", 50.0)]))
    line = next(line for line in text.splitlines() if line.startswith("times mlflow at 8 "))
    assert "20.00" in line
    assert "not met" in line
    assert "not measured" in text


def test_a_busy_machine_is_told():
    assert quietness([cell("ours", 1.0, others=0.05)]) == ""
    said = quietness([cell("ours", 1.0, others=0.05), cell("limit", 1.0, others=0.4)])
    assert "1 of 2" in said
    assert "40%" in said
