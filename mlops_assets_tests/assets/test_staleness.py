from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.stores import monitoring
from mlops_assets.stores.scouts import RULES, SUMS
from mlops_assets.stores.training_rows import manifests
from mlops_assets_tests.loop import Loop, add_parcels, errors, parcels

STEADY, TURNED = "steady", "turned"
ROWS, FIRST, TURN, LAST = 1_500, 9, 12, 14
TRAINING = {
    "window": {"min": 3},
    "validation": 1,
    "holdout": 1,
    "candidates": [{"estimator": "logistic_regression"}],
}
# After a turn the first challenger knows as little of it as the champion, and passes all the same.
SPEC: dict[str, Any] = {"training": TRAINING, "retraining": {}, "gates": {"margin": 0.2}}


@dataclass(frozen=True)
class Day:
    """A served day that was closed, and the run that its decision started, if any."""

    period: str
    close: dg.ExecuteInProcessResult
    run: dg.ExecuteInProcessResult | None
    told: str


def serve_days(loop: Loop, model: str) -> list[Day]:
    """Serve and close day after day; the sensor acts on each decision."""
    loop.history(model, "2026-01-12", "2026-01-01", "2026-01-08")
    days, cursor = [], None
    for number in range(FIRST, LAST + 1):
        period = f"2026-01-{number:02}"
        loop.at(f"2026-01-{number + 4:02}")
        loop.serve(model, period, loop.requests(model, period))
        close = loop.run(f"{model}__close", period)
        assert close.success, errors(close)
        found = loop.tick(f"{model}__retrain", cursor)
        cursor = found.cursor
        run = loop.follow(found.run_requests[0]) if found.run_requests else None
        days.append(Day(period, close, run, str(found.skip_message)))
    return days


@pytest.fixture(scope="module")
def own(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Two models under the default policy; of one, near parcels take longest from day 12 on."""
    models: Path = tmp_path_factory.mktemp("staleness")
    # Where nothing changes more rows are still worth something, but not all that a day loses.
    dear = {**SPEC, "retraining": {"price": 400}}
    add_parcels(models, STEADY, parcels(20, 0, ROWS, range(0)), **dear)
    add_parcels(models, TURNED, parcels(20, 0, ROWS, range(TURN - 1, 99)), **SPEC)
    return Loop(loop.settings, models, loop.instance)


@pytest.fixture(scope="module")
def steady(own: Loop) -> list[Day]:
    return serve_days(own, STEADY)


@pytest.fixture(scope="module")
def turned(own: Loop) -> list[Day]:
    return serve_days(own, TURNED)


def reports(loop: Loop, model: str) -> Mapping[str, Any]:
    return monitoring.kept(loop.stores.lake, model, monitoring.STALENESS)


def test_where_nothing_changes_nothing_is_retrained(own: Loop, steady: list[Day]):
    told = [f"{one.period} {one.reasons}" for one in monitoring.decisions(own.stores.lake, STEADY)]
    assert [day.run for day in steady] == [None] * len(steady), told
    assert own.alias(STEADY) == "1"
    decisions = monitoring.decisions(own.stores.lake, STEADY)
    assert {decision.action for decision in decisions} <= {"nothing", "alert"}
    assert "retraining does not pay yet" in decisions[-1].reasons[0]
    assert "a retrain costs 400" in decisions[-1].reasons[0]


def test_a_harmful_change_is_answered_in_its_first_period(own: Loop, turned: list[Day]):
    retrained = [day.period for day in turned if day.run is not None]
    assert retrained[0] == f"2026-01-{TURN:02}"
    run = next(day.run for day in turned if day.run is not None)
    assert run.dagster_run.tags["mlops/reason"].startswith("harm: loss ")
    assert "retraining pays" in run.dagster_run.tags["mlops/reason"]
    decision = monitoring.kept(own.stores.lake, TURNED, "decisions")[retrained[0]]
    assert run.dagster_run.tags["mlops/window"] == str(decision["window"] or "all")
    assert run.dagster_run.tags["mlops/version"] == decision["version"] == "1"
    assert int(own.alias(TURNED)) > 1


def test_the_report_shows_the_numbers_that_the_reason_tells(own: Loop, turned: list[Day]):
    period = f"2026-01-{TURN:02}"
    shown = own.materialization(TURNED, "staleness_report", period).metadata
    plan = reports(own, TURNED)[period]["plan"]
    assert shown["price"].value == plan["price"]
    assert shown["saving"].value == pytest.approx(plan["cost_later"] - plan["cost_now"])
    assert shown["retraining_pays"].value is True
    assert shown["next_retrain_expected"].value == "now"
    assert f"{shown['benefit_per_row'].value:.4g} less per row" in shown["reason"].value
    assert shown["cpu_seconds"].value > 0
    assert "](data:image/png;base64," in str(shown["outlook"].value)
    decided = own.materialization(TURNED, "retrain_decision", period).metadata
    assert shown["reason"].value in decided["reasons"].value
    assert str(decided["window"].value) == str(plan["outlook"]["window"] or "all")


def test_the_default_price_is_a_tenth_of_what_the_first_release_loses_in_a_period(
    own: Loop, turned: list[Day]
):
    plan = reports(own, TURNED)[turned[-1].period]["plan"]
    released = own.stores.registry.version(TURNED, "1")
    run = own.stores.registry.client.get_run(released.run_id)
    loss = run.data.metrics["holdout_log_loss"]
    frozen = manifests(TURNED, own.stores.lake)[released.tags["training_set"]]
    (held,) = [one for one in frozen.periods if one.period in frozen.split.holdout]
    assert plan["price"] == pytest.approx(0.1 * loss * held.rows)


def test_later_decisions_and_the_governor_see_the_same_plans(own: Loop, steady: list[Day]):
    last = steady[-1].period
    found = monitoring.evidence(own.stores.lake, STEADY, last)
    assert [one.period for one in found] == [day.period for day in steady]
    kept = reports(own, STEADY)
    for one in found:
        assert one.plan is not None
        assert one.plan.price == kept[one.period]["plan"]["price"]
        assert one.plan.outlook.version == "1"


def test_each_period_is_read_once_and_closing_again_changes_nothing(own: Loop, steady: list[Day]):
    first = own.materialization(STEADY, "staleness_report", steady[0].period).metadata
    assert first["periods_read"].value == FIRST
    last = steady[-1].period
    assert own.materialization(STEADY, "staleness_report", last).metadata["periods_read"].value == 1
    own.at("2026-01-19")
    tables = (SUMS, RULES, monitoring.STALENESS, "decisions")
    before = {table: own.stores.lake.version(STEADY, table) for table in tables}
    assert own.run(f"{STEADY}__close", last).success
    again = own.materialization(STEADY, "staleness_report", last).metadata
    assert again["periods_read"].value == 0
    assert {table: own.stores.lake.version(STEADY, table) for table in tables} == before


def test_the_previous_version_is_scored_on_the_same_rows(own: Loop, turned: list[Day]):
    kept = monitoring.kept(own.stores.lake, TURNED, "performance_reports")
    newest = kept[turned[-1].period]
    released = [one.to_version for one in own.stores.releases.history(TURNED)]
    before = released[released.index(newest["version"]) - 1]
    assert newest["previous_version"] == before != newest["version"]
    assert newest["previous_loss"] > newest["loss"]
    assert kept[turned[0].period]["previous_loss"] is None


def test_a_day_that_nobody_asked_about_has_a_report_all_the_same(own: Loop, steady: list[Day]):
    own.at("2026-01-20")
    result = own.run(f"{STEADY}__close", "2026-01-16")
    assert result.success, errors(result)
    plan = reports(own, STEADY)["2026-01-16"]["plan"]
    assert plan["outlook"]["age"] > 0
