import json

from benchmarks.serving.cells import Cell, Result, Window, cells_of_goals, matrix, summarise

KEYS = {
    "server",
    "model",
    "concurrency",
    "rows",
    "rps",
    "rows_per_s",
    "p50_ms",
    "p99_ms",
    "cpu_ms_per_request",
    "rss_mb",
    "cold_start_s",
    "errors",
}


def window(requests: int, errors: int = 0, p99: float | None = 5.0) -> Window:
    return Window(2.0, requests, errors, 1.0, p99, cpu_seconds=0.5)


def result(**changes: object) -> Result:
    windows = [window(100), window(300), window(200)]
    plain = {"server": "ours", "model": "boosting", "concurrency": 8, "rows": 1}
    sizes = {"rss_mb": 10.0, "cold_start_s": 1.0}
    return Result(**{**plain, **sizes, **summarise(windows, 1), **changes})  # type: ignore[arg-type]


def test_a_plain_result_has_exactly_the_agreed_keys_in_json():
    assert json.loads(json.dumps(result().to_json())).keys() == KEYS
    assert result(format="arrow").to_json().keys() == KEYS | {"format"}


def test_figures_are_medians_over_windows_and_errors_are_all_of_them():
    found = summarise([window(100, 1, 9.0), window(400, 2, 3.0), window(200, 4, 5.0)], rows=1000)
    assert found == {
        "rps": 100.0,
        "rows_per_s": 100_000.0,
        "p50_ms": 1.0,
        "p99_ms": 5.0,
        "cpu_ms_per_request": 2.5,
        "errors": 7,
        "others": 0.0,
    }


def test_windows_in_which_nothing_was_answered_give_no_latency():
    found = summarise([Window(1.0, 0, 3, None, None)] * 3, rows=10_000)
    assert found["rps"] == 0
    assert found["p99_ms"] is None
    assert found["cpu_ms_per_request"] is None
    assert found["errors"] == 9


def test_one_window_without_answers_does_not_hide_the_latency_of_others():
    found = summarise([window(0, 1, None), window(100), window(200)], rows=1)
    assert found["rps"] == 50.0
    assert found["p99_ms"] == 5.0


def test_the_matrix_is_every_combination_small_requests_first():
    assert matrix([1000, 1], [8, 1]) == [Cell(1, 1), Cell(1, 8), Cell(1000, 1), Cell(1000, 8)]


def test_the_cells_of_the_goals_are_part_of_the_whole_matrix():
    whole = set(matrix([1, 1000, 10_000], [1, 8, 64]))
    for model in ("boosting", "forest"):
        assert {Cell(1, 8), Cell(1, 64)} <= set(cells_of_goals(model)) <= whole
