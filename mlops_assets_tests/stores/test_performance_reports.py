from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.performance import PerformanceReport
from mlops_assets.domain.restatement import LabelChanges, Restatement
from mlops_assets.stores import performance_reports
from mlops_assets.stores.lake import Lake

RELEASE = LossSample(0.4, 0.5, 1000)


def report(loss: float | None, *, judged: bool = True, **changes: Any) -> PerformanceReport:
    """A report on 300 of 320 predictions."""
    found: dict[str, Any] = {
        "predictions": 320,
        "labelled": 300,
        "coverage": 300 / 320,
        "judged": judged,
        "metrics": {},
        "loss": loss,
        "reference_loss": 0.4,
        "z": None,
        "p_value": None,
        "harmed": False,
        "worse_than_previous": None,
        "reason": "made up",
        "loss_std": 0.6,
        "loss_at_best": loss,
        **changes,
    }
    return PerformanceReport(**found)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def keep(
    lake: Lake, period: str, version: str, kept: PerformanceReport, estimated: float | None = None
) -> None:
    more = {"estimate": None if estimated is None else {"loss": estimated}}
    performance_reports.keep_report(lake, "letters", period, version, kept, more, ())


def test_a_cusum_is_fed_by_the_versions_own_judged_periods_before(lake: Lake):
    keep(lake, "2026-01-01", "1", report(0.3))
    keep(lake, "2026-01-02", "2", report(0.41, loss_at_best=0.405))
    keep(lake, "2026-01-03", "2", report(0.9, judged=False))
    keep(lake, "2026-01-04", "2", report(0.42))
    keep(lake, "2026-01-05", "2", report(0.8))
    found = performance_reports.history(lake, "letters")
    assert performance_reports.samples_before(found, "2026-01-05", "2", RELEASE) == [
        LossSample(0.405, 0.6, 300),
        LossSample(0.42, 0.6, 300),
    ]


def test_reports_of_older_releases_lack_the_deviation_and_are_used_all_the_same():
    old = {"2026-01-01": {"version": "2", "judged": True, "loss": 0.41, "labelled": 300}}
    assert performance_reports.samples_before(old, "2026-01-02", "2", RELEASE) == [
        LossSample(0.41, RELEASE.std, 300)
    ]
    assert performance_reports.estimates_before(old, "2026-01-02") == []
    assert performance_reports.restated(old["2026-01-01"], "2", None) == []


def test_estimates_are_judged_by_the_newest_matured_periods(lake: Lake):
    for day in range(1, 12):
        keep(lake, f"2026-01-{day:02}", "1", report(0.4 + day / 100), 0.5)
    keep(lake, "2026-01-12", "1", report(0.9, judged=False), 0.5)
    keep(lake, "2026-01-13", "1", report(0.9))
    found = performance_reports.estimates_before(
        performance_reports.history(lake, "letters"), "2026-01-14"
    )
    assert [period for period, _, _ in found] == [f"2026-01-{day:02}" for day in range(4, 12)]
    assert found[-1] == ("2026-01-11", 0.5, pytest.approx(0.51))


def test_restatements_pile_up_and_end_with_another_version():
    before = {**report(0.5).__dict__, "version": "1", "restatements": [{"at": "first"}]}
    changes = LabelChanges(came=3, changed=0, withdrawn=0)
    found = Restatement.of("second", changes, before, report(0.6))
    told = performance_reports.restated(before, "1", found)
    assert [one["at"] for one in told] == ["first", "second"]
    assert told[1]["changes"] == {"came": 3, "changed": 0, "withdrawn": 0}
    assert (told[1]["loss_before"], told[1]["loss_after"]) == (0.5, 0.6)
    # What another version answered cannot be compared: it is no restatement.
    assert performance_reports.restated(before, "2", found) == [{"at": "first"}]
    assert performance_reports.restated(None, "1", None) == []


def test_restatements_of_all_periods_are_listed_with_their_period(lake: Lake):
    for day, count in (("2026-01-01", 2), ("2026-01-02", 0), ("2026-01-03", 1)):
        restated = [{"at": f"{n}"} for n in range(count)]
        performance_reports.keep_report(lake, "letters", day, "1", report(0.5), {}, restated)
    found = performance_reports.restatements(lake, "letters")
    assert [(one["period"], one["at"]) for one in found] == [
        ("2026-01-01", "0"),
        ("2026-01-01", "1"),
        ("2026-01-03", "0"),
    ]
