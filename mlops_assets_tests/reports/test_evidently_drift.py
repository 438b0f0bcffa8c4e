import html
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.answer_columns import PREDICTED
from mlops_assets.domain.drift import ColumnDrift, DriftReport, drift
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.profile import Profile, profile_levels, profile_numbers
from mlops_assets.reports import evidently_drift
from mlops_assets.reports.drawn_columns import safe_text
from mlops_assets.reports.evidently_drift import drift_html, drift_snapshot

HOSTILE = "</script><script>window.hacked=1;alert(1)</script><img src=x onerror=alert(2)>"
Columns = dict[str, np.ndarray]


def columns(rows: int, seed: int = 0, extra: str = "x") -> Columns:
    rng = np.random.default_rng(seed)
    return {
        "wind": rng.normal(size=rows),
        "seats": np.where(rng.random(rows) < 0.2, np.nan, rng.integers(1, 400, rows)),
        "gone": np.full(rows, np.nan),
        "carrier": rng.choice(np.array(["AA", "UA", extra], dtype=object), rows),
        HOSTILE: rng.choice(np.array(["a", HOSTILE], dtype=object), rows),
    }


def verdict(column: str, p: float, effect: float, flagged: bool, test: Any = "chi-square"):
    reason = f"{column}: changed by {effect}"
    return ColumnDrift(column, test, 3.0, p, effect, 0.001, flagged, reason, 0.1)


def a_report(*tests: ColumnDrift) -> DriftReport:
    flagged = tuple(dict.fromkeys(test.column for test in tests if test.flagged))
    return DriftReport(6_000, True, tests, flagged, "; ".join(test.reason for test in tests))


# What Evidently's own tests would say of these columns is the opposite, column by column.
REPORT = a_report(
    verdict("wind", 1e-12, 0.31, True, "kolmogorov-smirnov"),
    verdict("wind", 0.7, 0.0, False, "missing rate"),
    verdict("seats", 0.0002, 0.04, False, "kolmogorov-smirnov"),
    verdict("gone", 0.5, 0.9, False, "missing rate"),
    verdict("carrier", 0.42, 0.01, False),
    verdict(HOSTILE, 1e-5, 0.2, True, "new levels"),
)


def drawn_rows(snapshot: Any) -> dict[str, tuple[str, str, str]]:
    """Verdict, test and score per column, as the page's table shows them, in its order."""
    (widgets,) = [item.widgets for item in snapshot._snapshot_item]
    return {
        row["column_name"]: (row["data_drift"], row["stattest_name"], row["drift_score"])
        for row in widgets[-1].params["data"]
    }


def test_evidently_draws_our_verdicts_statistics_and_limits():
    found = drift_snapshot(REPORT, columns(500), columns(500, 1, "XX"), tests=True).dict()
    metrics = {
        metric["config"]["column"]: (metric["value"], metric["config"]["threshold"])
        for metric in found["metrics"]
        if "column" in metric["config"]
    }
    ours = REPORT.by_column
    assert metrics == {safe_text(name): (one.p_value, 0.001) for name, one in ours.items()}
    failed = {
        test["metric_config"]["params"]["column"]
        for test in found["tests"]
        if test["id"] == "drift" and test["status"] == "FAIL"
    }
    assert failed == {safe_text(name) for name in REPORT.flagged}
    (count,) = [m["value"] for m in found["metrics"] if "column" not in m["config"]]
    assert count == {"count": 2.0, "share": 0.4}


def test_the_drawn_table_has_drifted_columns_first_and_exact_p_values():
    rows = drawn_rows(drift_snapshot(REPORT, columns(500), columns(500, 1)))
    assert list(rows) == ["wind", safe_text(HOSTILE), "gone", "seats", "carrier"]
    assert rows["wind"] == (
        "Detected",
        "kolmogorov-smirnov",
        "effect 0.310 (limit 0.1), p = 1e-12 (limit 0.001)",
    )
    assert [row[0] for row in rows.values()] == ["Detected"] * 2 + ["Not Detected"] * 3


def test_threads_that_draw_at_once_keep_their_verdicts_apart():
    quiet = a_report(*(verdict(name, 0.9, 0.0, False) for name in columns(1)))
    loud = a_report(*(verdict(name, 1e-9, 0.8, True) for name in columns(1)))

    def detected(report: DriftReport) -> list[str]:
        rows = drawn_rows(drift_snapshot(report, columns(300), columns(300, 1)))
        return sorted({row[0] for row in rows.values()})

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detected, [quiet, loud] * 4))
    assert found == [["Not Detected"], ["Detected"]] * 4


def test_a_report_that_was_not_judged_is_drawn_without_verdicts():
    report = DriftReport(3, False, (), (), "too few rows to judge: 3 of 200")
    snapshot = drift_snapshot(report, columns(300), columns(3, 1))
    assert {row[0] for row in drawn_rows(snapshot).values()} == {"Not Detected"}
    page = drift_html(report, columns(300), columns(3, 1), "few")
    assert "<b>Not judged</b>" in page
    assert "too few rows to judge: 3 of 200" in page


@pytest.mark.parametrize(
    "made",
    [
        {"x": np.array([1.0])},
        {"x": np.zeros(50), "y": np.zeros(50)},
        {"x": np.array([1e308, -1e308] * 9), "y": np.arange(18.0)},
        {"c": np.array(["only"] * 9, dtype=object)},
        {"c": np.array([f"level {index}" for index in range(900)], dtype=object)},
        {"x": np.full(9, np.nan)},
    ],
    ids=["one row", "constant", "huge", "one level", "many levels", "nothing"],
)
def test_odd_columns_are_drawn(made: Columns):
    report = a_report(*(verdict(name, 0.5, 0.0, False) for name in made))
    page = drift_html(report, made, made, "odd")
    assert "0 of" in page


def test_the_page_holds_no_script_but_evidentlys_own():
    page = drift_html(REPORT, columns(500), columns(500, 1, HOSTILE), HOSTILE)
    harmless = {"wind": np.zeros(9)}
    plain = drift_html(a_report(verdict("wind", 0.5, 0.0, False)), harmless, harmless, "plain")
    for markup in ("<script", "</script", "<img", "onerror=alert"):
        assert page.lower().count(markup) == plain.lower().count(markup) + (
            markup in html.escape(HOSTILE) and page.count(html.escape(HOSTILE))
        ), markup
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert policy[1].count("'sha256-") == 4


def test_a_script_that_slipped_through_is_not_written():
    page = "<head></head><body>" + "<script>1</script>" * 5 + "</body>"
    with pytest.raises(DataError, match="has 5 scripts where 4 are known"):
        evidently_drift._locked(page, "title", "summary")


def test_the_summary_names_every_test_and_flagged_reason():
    page = drift_html(REPORT, columns(300), columns(300, 1), "Drift of <flights>")
    head = page[: page.index('id="root_')]
    assert "<title>Drift of &lt;flights&gt;</title>" in head
    assert "<b>2 of 5 columns drifted</b>, in 6,000 rows." in head
    assert "<li>wind: changed by 0.31" in head
    assert head.count("<tr") == 1 + len(REPORT.columns)


@pytest.mark.browser
def test_a_browser_draws_the_report_and_runs_nothing_foreign(browser_page: Any, tmp_path: Path):
    page = drift_html(REPORT, columns(500), columns(500, 1, HOSTILE), HOSTILE)
    path = tmp_path / "drift.html"
    path.write_text(page)
    dialogs, requests, errors = visit(browser_page, path.as_uri())
    browser_page.get_by_text("Drift is detected for 40").wait_for()
    browser_page.locator("tbody tr", has_text="carrier").locator("button").last.click()
    browser_page.locator(".js-plotly-plot .barlayer").first.wait_for()
    browser_page.wait_for_timeout(500)
    assert dialogs == []
    assert browser_page.evaluate("window.hacked") is None
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert errors == []


def hostile_period() -> tuple[DriftReport, Columns, Columns]:
    """What `drift` makes of a period in which requests brought markup wherever they can."""
    rng = np.random.default_rng(0)
    before = {
        "wind": rng.normal(size=900),
        "speed": rng.uniform(0, 1, 900),
        "carrier": rng.choice(np.array(["AA", "UA", "B6"], dtype=object), 900),
        PREDICTED: rng.choice(np.array([f"no {HOSTILE}", f"yes {HOSTILE}"], dtype=object), 900),
    }
    now = {
        "wind": np.zeros(400),
        "speed": np.where(rng.random(400) < 0.3, -999.0, rng.uniform(0, 1, 400)),
        "carrier": np.array([HOSTILE, "AA", "UA", "B6"] * 100, dtype=object),
        PREDICTED: np.full(400, f"yes {HOSTILE}", dtype=object),
    }
    reference = Profile(
        {
            name: profile_levels(values) if values.dtype == object else profile_numbers(values)
            for name, values in before.items()
        }
    )
    report = drift(reference, now, false_alarm_rate=0.01, min_effect=0.1, min_rows=100, seed=0)
    return report, before, now


def test_stuck_range_new_level_and_predicted_class_are_drawn_with_both_limits():
    report, before, now = hostile_period()
    assert {name: test.test for name, test in report.by_column.items()} == {
        "wind": "stuck",
        "speed": "range",
        "carrier": "new levels",
        PREDICTED: "stuck",
    }
    rows = drawn_rows(drift_snapshot(report, before, now))
    for name, found in report.by_column.items():
        assert rows[name] == (
            "Detected",
            found.test,
            f"effect {found.effect:.3f} (limit 0.1), p = {found.p_value:.2g} "
            f"(limit {0.01 / len(report.columns):.2g})",
        )


@pytest.mark.browser
def test_a_browser_runs_nothing_that_came_with_levels_and_classes(
    browser_page: Any, tmp_path: Path
):
    report, before, now = hostile_period()
    assert HOSTILE[:4] in before[PREDICTED][0]
    path = tmp_path / "drift.html"
    path.write_text(drift_html(report, before, now, "title"))
    dialogs, requests, errors = visit(browser_page, path.as_uri())
    browser_page.get_by_text("Drift is detected for 100").wait_for()
    browser_page.get_by_text("range before (now -999").first.wait_for()
    browser_page.locator("tbody tr", has_text="predicted class").locator("button").last.click()
    browser_page.locator(".js-plotly-plot .barlayer").first.wait_for()
    browser_page.wait_for_timeout(500)
    assert dialogs == []
    assert browser_page.evaluate("window.hacked") is None
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert errors == []


@pytest.mark.browser
def test_the_policy_alone_stops_a_script_that_slipped_through(browser_page: Any, tmp_path: Path):
    page = drift_html(REPORT, columns(300), columns(300, 1), "title")
    hostile = page.replace("</body>", "<script>window.hacked=1;alert(1)</script></body>")
    assert hostile != page
    path = tmp_path / "drift.html"
    path.write_text(hostile)
    dialogs, _, errors = visit(browser_page, path.as_uri())
    browser_page.get_by_text("Drift is detected for 40").wait_for()
    assert dialogs == []
    assert browser_page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in error for error in errors)


def visit(page: Any, address: str) -> tuple[list[str], list[str], list[str]]:
    """Open a page and note dialogs, requested addresses and errors from then on."""
    dialogs: list[str] = []
    requests: list[str] = []
    errors: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(address)
    return dialogs, requests, errors
