import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.assets.quality import report_performance
from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.evaluation import metrics, row_losses
from mlops_assets.stores import monitoring
from mlops_assets_tests.loop import History, Loop, checks, errors

WEEK, NEXT_WEEK = "2013-06-17", "2013-06-24"


@dataclass(frozen=True)
class Closed:
    """A real week of flights: what was answered, and the run that closed it."""

    loop: Loop
    requests: Sequence[Mapping[str, Any]]
    answers: Sequence[Mapping[str, Any]]
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def closed(loop: Loop, flights: History) -> Closed:
    """One week, served in three requests of a replica, and closed when its labels matured."""
    requests = loop.requests("flight_delay", WEEK)
    answers: list[Mapping[str, Any]] = []
    for part in range(3):
        answered = loop.serve("flight_delay", f"{WEEK}-{part}", requests[part::3])
        answers += answered["predictions"]
    loop.at("2013-06-25")
    result = loop.run("flight_delay__close", WEEK)
    assert result.success, errors(result)
    return Closed(loop, requests, answers, result)


def truth(loop: Loop) -> pd.DataFrame:
    source = pq.read_table(loop.model("flight_delay").spec.source.path)  # type: ignore[union-attr]
    found: pd.DataFrame = source.to_pandas()
    return found.set_index(found["flight_id"].astype(str))


def test_every_answered_prediction_is_in_the_lake_once(closed: Closed):
    found = monitoring.predictions_of(
        closed.loop.model("flight_delay"), closed.loop.stores.lake, WEEK
    )
    assert len(found) == len(closed.requests) > 5000
    assert sorted(found["prediction_id"]) == sorted(a["prediction_id"] for a in closed.answers)
    assert sorted(found["entity"]) == sorted(str(row["flight_id"]) for row in closed.requests)
    assert set(found["version"]) == {"1"}
    by_id = found.set_index("prediction_id")
    answered = pd.Series({a["prediction_id"]: a["probability"]["1"] for a in closed.answers})
    np.testing.assert_allclose(by_id["p_1"], answered[by_id.index], atol=1e-9)


def test_closing_a_week_again_counts_nothing_twice(closed: Closed):
    loop = closed.loop
    before = loop.lake_versions("flight_delay")
    kept = ("predictions", "ground_truth", "retrain_decision")
    versions = [loop.data_version("flight_delay", asset, WEEK) for asset in kept]
    report = loop.materialization("flight_delay", "performance_report", WEEK).metadata
    loop.at("2013-06-25")
    again = loop.run("flight_delay__close", WEEK)
    assert again.success, errors(again)
    assert loop.lake_versions("flight_delay") == before
    assert [loop.data_version("flight_delay", asset, WEEK) for asset in kept] == versions
    shown = loop.materialization("flight_delay", "performance_report", WEEK).metadata
    assert shown["predictions"] == report["predictions"]
    assert shown["loss"] == report["loss"]


def test_the_performance_report_equals_a_direct_computation(closed: Closed):
    loop = closed.loop
    model, stores = loop.model("flight_delay"), loop.stores
    found = monitoring.predictions_of(model, stores.lake, WEEK)
    labels = truth(loop).loc[found["entity"]]
    landed = labels["arrival_delay_minutes"].notna().to_numpy()
    landed &= (labels["arrived_at"] <= pd.Timestamp("2013-06-25", tz="UTC")).to_numpy()
    y = (labels["arrival_delay_minutes"][landed].astype(float) > 15).astype(int).to_numpy()
    outputs = found[["p_0", "p_1"]].to_numpy()[landed]
    shown = loop.materialization("flight_delay", "performance_report", WEEK).metadata
    expected = metrics("binary", y, outputs, ("0", "1"))
    assert set(expected) == {
        "accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier"
    }  # fmt: skip
    for name, value in expected.items():
        assert shown[name].value == pytest.approx(value), name
    losses = row_losses("binary", y, outputs)
    assert shown["loss"].value == pytest.approx(losses.mean())
    assert shown["predictions"].value == len(found)
    assert shown["labelled"].value == landed.sum() < len(found)
    assert shown["label_coverage"].value == pytest.approx(landed.mean())
    assert shown["judged"].value is True
    bundle = stores.registry.cached_bundle("flight_delay", "1", stores.bundles)
    released = json.loads((bundle / "evidence.json").read_bytes())
    reference = LossSample(**released["loss"])
    assert shown["reference_loss"].value == pytest.approx(reference.mean)
    kept = monitoring.kept(stores.lake, "flight_delay", "performance_reports")[WEEK]
    best = -np.log(found[["p_0", "p_1"]].to_numpy()[~landed].max(axis=1))
    outstanding = max(0.0, 1 - landed.mean() / released["label_coverage"])
    at_best = (1 - outstanding) * losses.mean() + outstanding * min(best.mean(), losses.mean())
    assert kept["loss_at_best"] == pytest.approx(at_best)
    spread = np.sqrt(losses.var(ddof=1) / len(losses) + reference.std**2 / reference.rows)
    assert kept["z"] == pytest.approx((at_best - reference.mean) / spread, rel=0.01)
    harm = checks(closed.result)["no_harm"]
    assert harm.passed is not kept["harmed"]
    assert f"{losses.mean():.4f}" in str(harm.description)


def test_harm_among_the_flights_of_one_carrier_is_proven_and_named(closed: Closed):
    model, stores = closed.loop.model("flight_delay"), closed.loop.stores
    told = stores.lake.read("flight_delay", monitoring.GROUND_TRUTH, periods=[WEEK])
    carriers = truth(closed.loop)["carrier"]
    frame = told.to_pandas()
    # One carrier reports every third flight's delay the wrong way round.
    wrong = (frame["entity"].map(carriers) == "DL") & (np.arange(len(frame)) % 3 == 0)
    assert 0.02 < wrong.mean() < 0.08
    frame.loc[wrong, "label"] = frame.loc[wrong, "label"].map({"0": "1", "1": "0"})
    changed = pa.Table.from_pandas(frame, schema=told.schema, preserve_index=False)
    try:
        stores.lake.write_period("flight_delay", monitoring.GROUND_TRUTH, WEEK, changed)
        reported = report_performance(model, stores, WEEK)
    finally:
        stores.lake.write_period("flight_delay", monitoring.GROUND_TRUTH, WEEK, told)
        restored = report_performance(model, stores, WEEK)
    assert reported.report.harmed
    assert reported.report.segment is not None
    assert reported.report.segment.segment == "carrier = DL"
    assert "in the " in reported.metadata["reason"]
    assert "rows with carrier = DL" in reported.metadata["reason"]
    assert restored.report.segment is None


def test_the_performance_report_shows_intervals_slices_and_the_labels_lag(closed: Closed):
    loop = closed.loop
    shown = loop.materialization("flight_delay", "performance_report", WEEK).metadata
    kept = monitoring.kept(loop.stores.lake, "flight_delay", "performance_reports")[WEEK]
    for name, interval in kept["intervals"].items():
        assert interval["lower"] < interval["mean"] < interval["upper"], name
    assert kept["intervals"]["log_loss"]["mean"] == pytest.approx(shown["log_loss"].value)
    labels = truth(loop)
    # The gates' slices are those of monitoring, where it declares none.
    assert {one["value"] for one in kept["slices"]} == set(labels["origin"])
    assert sum(one["rows"] for one in kept["slices"]) == shown["labelled"].value
    records = shown["slices"].value.records if hasattr(shown["slices"].value, "records") else None
    assert len(records or shown["slices"].records) == 3
    found = monitoring.predictions_of(loop.model("flight_delay"), loop.stores.lake, WEEK)
    arrived = labels.loc[found["entity"]]
    arrived = arrived[arrived["arrived_at"] <= pd.Timestamp("2013-06-25", tz="UTC")]
    hours = (arrived["arrived_at"] - arrived["scheduled_departure"]).dt.total_seconds() / 3600
    hours = hours[arrived["arrival_delay_minutes"].notna()]
    assert shown["label_lag_median_hours"].value == pytest.approx(hours.median())
    assert shown["label_lag_p90_hours"].value == pytest.approx(hours.quantile(0.9))
    assert f"| labels known | {len(hours):,} " in str(shown["labels"].value)
    assert "](data:image/png;base64," in str(shown["labels"].value)


def test_the_performance_report_shows_what_was_to_be_expected_without_labels(closed: Closed):
    loop = closed.loop
    shown = loop.materialization("flight_delay", "performance_report", WEEK).metadata
    kept = monitoring.kept(loop.stores.lake, "flight_delay", "performance_reports")[WEEK]
    told = kept["estimate"]
    assert told["calibrated"]
    assert told["lower"] < told["loss"] == shown["estimated_loss"].value < told["upper"]
    assert told["rows"] == shown["predictions"].value
    assert shown["estimate_error"].value == "no period has matured yet"
    assert f"estimated loss {told['loss']:.4f}" in str(shown["estimate"].value)


def test_the_drift_report_is_a_page_with_the_flagged_columns(closed: Closed):
    loop = closed.loop
    shown = loop.materialization("flight_delay", "drift_report", WEEK).metadata
    page = Path(str(shown["report"].value))
    assert page.is_relative_to(loop.settings.reports)
    assert "<html" in page.read_text()[:2000].lower()
    flagged = shown["flagged_columns"].value
    kept = monitoring.kept(loop.stores.lake, "flight_delay", "drift_reports")[WEEK]
    assert kept["flagged"] == flagged
    assert kept["judged"] is True
    tested = {test["column"] for test in kept["columns"]}
    assert tested == {
        *loop.model("flight_delay").spec.columns,
        "prediction score",
        "predicted class",
    }
    # Every flag is explained by a test that is beyond its limits.
    assert set(flagged) == {test["column"] for test in kept["columns"] if test["flagged"]}
    drift = checks(closed.result)["no_drift"]
    assert drift.passed is (not flagged)
    assert drift.severity == dg.AssetCheckSeverity.WARN
    assert drift.metadata["flagged"].value == flagged


def test_a_unit_bug_in_a_column_is_flagged_with_its_name(closed: Closed):
    loop = closed.loop
    week = loop.requests("flight_delay", NEXT_WEEK)
    celsius = [
        {**row, "temp": None if row["temp"] is None else (row["temp"] - 32) / 1.8} for row in week
    ]
    loop.serve("flight_delay", NEXT_WEEK, celsius)
    loop.at("2013-07-02")
    result = loop.run("flight_delay__close", NEXT_WEEK)
    assert result.success, errors(result)
    flagged = checks(result)["no_drift"].metadata["flagged"].value
    assert "temp" in flagged
    assert not checks(result)["no_drift"].passed
    assert "carrier" not in flagged


def test_a_decision_follows_the_reports(closed: Closed):
    loop = closed.loop
    shown = loop.materialization("flight_delay", "retrain_decision", WEEK)
    kept = monitoring.kept(loop.stores.lake, "flight_delay", "decisions")[WEEK]
    report = monitoring.kept(loop.stores.lake, "flight_delay", "performance_reports")[WEEK]
    assert kept["id"] == shown.metadata["decision"].value
    assert kept["action"] == shown.metadata["action"].value == shown.tags["mlops/action"]
    assert kept["version"] == "1"
    # A retrain of this model does not pay after one week: harm and drift are told.
    drift = monitoring.kept(loop.stores.lake, "flight_delay", "drift_reports")[WEEK]
    told = report["harmed"] or report["decaying"] or drift["flagged"]
    assert kept["action"] == ("alert" if told else "nothing")
    assert "retraining does not pay yet" in kept["reasons"][0]
    assert f"loss {report['loss']:.4f}" in kept["reasons"][0]


def test_a_report_uses_only_labels_known_at_its_time(loop: Loop, parcels: History):
    period = "2026-01-12"
    requests = loop.requests("parcels", period)
    loop.serve("parcels", period, requests)
    rows = pq.read_table(loop.models / "parcels" / "rows.parquet").to_pandas()
    day = rows[rows["sent_at"].dt.strftime("%Y-%m-%d") == period]
    labelled = []
    for now in ("2026-01-13", "2026-01-16"):
        loop.at(now)
        result = loop.run("parcels__close", period)
        assert result.success, errors(result)
        known = day["hours"].notna() & (day["arrived_at"] <= pd.Timestamp(now, tz="UTC"))
        shown = loop.materialization("parcels", "performance_report", period).metadata
        assert shown["labelled"].value == known.sum()
        assert shown["label_coverage"].value == pytest.approx(known.sum() / len(requests))
        truth_rows = loop.stores.lake.read("parcels", "ground_truth", periods=[period])
        assert truth_rows.num_rows == known.sum()
        labelled.append(shown["judged"].value)
    assert labelled == [False, True], "the first look came before enough labels were known"
    assert (
        loop.materialization("parcels", "ground_truth", period).metadata["restated_labels"].value
        == 0
    )


def test_a_label_that_changes_is_told_as_restated(loop: Loop, parcels: History):
    path = loop.models / "parcels" / "rows.parquet"
    good, period = pq.read_table(path), "2026-01-02"
    loop.at("2026-01-16")
    assert loop.run("parcels__ingest", period).success
    try:
        assert loop.run("parcels__close", period).success
        frame = good.to_pandas()
        first = frame.index[(frame["sent_at"].dt.day == 2) & (frame["hours"] > 24)][:3]
        frame.loc[first, "hours"] = 1.0
        changed = good.schema.empty_table().from_pandas(frame, schema=good.schema)
        pq.write_table(changed, path)
        assert loop.run("parcels__close", period).success
        shown = loop.materialization("parcels", "ground_truth", period).metadata
        assert shown["restated_labels"].value == 3
        again = loop.run("parcels__close", period)
        assert again.success
    finally:
        pq.write_table(good, path)
    shown = loop.materialization("parcels", "ground_truth", period).metadata
    assert shown["restated_labels"].value == 0, "the second look found what the first one wrote"


def test_a_period_in_which_nothing_was_served_is_reported_as_that(loop: Loop, parcels: History):
    result = loop.run("parcels__close", "2026-01-03")
    assert result.success, errors(result)
    found = checks(result)
    for name in ("no_drift", "no_harm"):
        assert found[name].passed
        assert found[name].description == "nothing was served in this period"
    decision = loop.materialization("parcels", "retrain_decision", "2026-01-03").metadata
    assert decision["action"].value == "nothing"


def test_several_periods_can_be_closed_in_one_run(loop: Loop, parcels: History):
    loop.at("2026-01-16")
    result = loop.run("parcels__close", "2026-01-04", "2026-01-06")
    assert result.success, errors(result)
    for period in ("2026-01-04", "2026-01-05", "2026-01-06"):
        decision = loop.materialization("parcels", "retrain_decision", period)
        assert decision.partition == period
        assert (
            decision.metadata["decision"].value
            == monitoring.kept(loop.stores.lake, "parcels", "decisions")[period]["id"]
        )
