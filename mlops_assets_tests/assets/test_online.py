"""Inputs from the past through the whole loop: lake, training, publication, endpoint, log."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dagster import FreshnessPolicy

from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.stores import monitoring, training_rows
from mlops_assets.stores.batch_history import BatchPast
from mlops_assets.stores.batch_run import BatchPlan, run_batch
from mlops_assets.stores.bundles import load_scorer
from mlops_assets.stores.online import OnlineStore
from mlops_assets_tests.loop import History, Loop, checks, errors, utc
from mlops_assets_tests.regulars import NAMES, by_hand
from serving.http import PredictionService
from serving.models import ModelSet

DAY = "2026-01-09"
# Those that serving knows as training does, because they count whole periods.
BY_PERIOD = NAMES[:-1]


@pytest.fixture(scope="module")
def regulars(loop: Loop) -> History:
    """Eight days of parcels of regular senders, and a version that knows their past."""
    return loop.history("regulars", DAY, "2026-01-01", "2026-01-08")


@pytest.fixture(scope="module")
def answered(loop: Loop, regulars: History) -> pd.DataFrame:
    """The features of a day and the probabilities that clients got who sent only the key."""
    requests = loop.requests("regulars", DAY)
    assert set(requests[0]) == {"sender", "sent_at", "zone", "weight"}
    answer = loop.serve("regulars", DAY, requests)
    served = pd.DataFrame(requests)
    served["served"] = [one["probability"]["1"] for one in answer["predictions"]]
    served["event_time"] = pd.to_datetime(served["sent_at"])
    loop.at("2026-01-13")
    closed = loop.run("regulars__close", DAY)
    assert closed.success, errors(closed)
    features = loop.stores.lake.read("regulars", "features", periods=[DAY]).to_pandas()
    return features.merge(served[["event_time", "served"]], on="event_time", validate="1:1")


def test_features_hold_what_was_known_before(loop: Loop, regulars: History):
    source = pq.read_table(loop.models / "regulars" / "rows.parquet").to_pandas()
    rows = loop.stores.lake.read("regulars", "features", periods=["2026-01-06"]).to_pandas()
    start = pd.Timestamp("2026-01-06", tz="UTC")
    found = source.set_index("sent_at", drop=False).loc[rows["event_time"]]
    for place in range(0, len(rows), 30):
        expected = by_hand(source, start, found.iloc[place])
        assert rows[list(NAMES)].iloc[place].to_dict() == pytest.approx(expected, nan_ok=True)


def test_ingesting_publishes_and_tells_what(loop: Loop, regulars: History):
    published = loop.materialization("regulars", "online_history").metadata
    assert published["keys"].value == 43
    assert published["events"].value > 1000
    state = loop.stores.online.published("regulars")
    assert state is not None
    assert state.until >= utc("2026-01-09").timestamp() * 1_000_000
    check = checks(regulars.ingest)["published_in_time"]
    assert check.passed
    assert "published until 2026-01-09 00:00" in check.description


@pytest.mark.parametrize("job", ["ingest", "close", "restate"])
def test_every_job_that_reads_periods_publishes_them(loop: Loop, job: str):
    """So a replay, which runs these jobs, publishes as it goes."""
    for model, expected in (("regulars", True), ("parcels", False)):
        found = loop.definitions.resolve_job_def(f"{model}__{job}")
        assert (f"{model}__online_history" in found.graph.node_dict) is expected


def test_dagster_watches_the_age_of_a_publication(loop: Loop):
    asset = loop.definitions.resolve_assets_def(["regulars", "online_history"])
    (policy,) = (spec.freshness_policy for spec in asset.specs)
    assert policy == FreshnessPolicy.time_window(
        fail_window=timedelta(days=2), warn_window=timedelta(days=1.5)
    )


def test_the_version_serves_as_it_was_trained(loop: Loop, regulars: History):
    assert checks(regulars.train)["serves_as_trained"].passed
    bundle = loop.stores.registry.cached_bundle("regulars", "1", loop.stores.bundles)
    contract = load_scorer(bundle).contract
    assert contract.looked_up == set(NAMES)


def test_only_the_key_gives_the_answer_that_all_inputs_give(loop: Loop, answered: pd.DataFrame):
    """What the log says was scored is what the lake has; scored again it gives the answer."""
    log = monitoring.predictions_of(loop.model("regulars"), loop.stores.lake, DAY)
    joined = answered.merge(log, on="event_time", suffixes=("", "_logged"), validate="1:1")
    assert len(joined) == len(answered) > 100
    for name in BY_PERIOD:
        np.testing.assert_array_equal(joined[f"{name}_logged"], joined[name])
    bundle = loop.stores.registry.cached_bundle("regulars", "1", loop.stores.bundles)
    scorer = load_scorer(bundle)
    logged = joined.assign(heaviest_today=joined["heaviest_today_logged"])
    outputs = scorer.score(as_arrays(model_frame(logged, scorer.contract.columns)))
    np.testing.assert_allclose(outputs[:, 1], joined["served"], atol=1e-12)
    whole = [
        {
            **{n: row[n] for n in ("zone", "weight")},
            **{n: None if np.isnan(row[n]) else float(row[n]) for n in NAMES},
        }
        for _, row in logged.head(30).iterrows()
    ]
    again = loop.serve("regulars", "whole", whole)
    told = [one["probability"]["1"] for one in again["predictions"]]
    np.testing.assert_allclose(told, logged["served"].head(30), atol=1e-12)


def test_rows_in_bulk_are_scored_alike_with_and_without_their_past(
    loop: Loop, regulars: History, tmp_path: Path
):
    """Of the valid rows, which lack these inputs, and of the features, which have them."""
    lake, outputs = loop.stores.lake, []
    for table, time in (("validated_data", "sent_at"), ("features", "event_time")):
        plan = BatchPlan(
            bundle=loop.stores.registry.cached_bundle("regulars", "1", loop.stores.bundles),
            version="1",
            engine="exact",
            input_path=lake.path("regulars", table),
            output=tmp_path / table,
            keep=(time,),
            past=BatchPast.newest(loop.model("regulars"), lake.root),
        )
        summary = run_batch(plan, workers=2)
        assert summary.rejected == 0
        assert summary.looked_up == (NAMES if table == "validated_data" else ())
        outputs.append(pq.read_table(plan.output).sort_by(time)["probability_1"].to_numpy())
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("url", ["", "postgresql://nobody@127.0.0.1:9/nothing"])
def test_the_endpoint_tells_how_old_the_past_is_and_when_its_store_is_away(
    loop: Loop, answered: pd.DataFrame, tmp_path: Path, url: str
):
    models = ModelSet(loop.settings.serving_state)
    models.refresh()
    store = OnlineStore(url) if url else loop.stores.online
    service = PredictionService(models, tmp_path, online=store, models_dir=loop.models)
    body = json.dumps({"records": loop.requests("regulars", DAY)[:1]}).encode()
    try:
        health, answer = (
            asyncio.run(service.answer(method, path, {}, body))
            for method, path in (("GET", "/health"), ("POST", "/v1/models/regulars/predict"))
        )
    finally:
        service.close()
    told = json.loads(health.body)
    if url:
        assert answer.status == 503
        assert told["status"] == "degraded"
        assert told["reason"] == "regulars: the online store of history does not answer"
    else:
        assert answer.status == 200
        assert told["status"] == "ok"
        assert told["models"]["regulars"]["history"]["keys"] == 43


def test_drift_of_an_entitys_past_is_watched_and_of_a_zones_is_not(
    loop: Loop, answered: pd.DataFrame
):
    """All rows of a zone have the same past: three values are no sample of 150 rows."""
    drift = monitoring.kept(loop.stores.lake, "regulars", "drift_reports")[DAY]
    watched = {test["column"] for test in drift["columns"]}
    assert set(NAMES) - watched == {"zone_hours"}


def test_features_of_another_function_are_not_trained_on(loop: Loop, regulars: History):
    model = loop.model("regulars")
    now = utc("2026-01-12")
    frozen = training_rows.freeze(model, loop.stores.lake, now, None)
    history = tuple(
        rule.model_copy(update={"digest": "other"}) if rule.function else rule
        for rule in model.spec.history
    )
    changed = replace(model, spec=model.spec.model_copy(update={"history": history}))
    with pytest.raises(NotTrainableError, match=r"were computed with another features\.py: run"):
        training_rows.freeze(changed, loop.stores.lake, now, None)
    assert frozen.split.periods


def test_a_period_that_is_over_and_not_published_is_told(loop: Loop, answered: pd.DataFrame):
    loop.at("2026-01-12T01:00")
    late = loop.run("regulars__ingest", "2026-01-10")
    check = checks(late)["published_in_time"]
    assert not check.passed
    assert check.description == (
        "published until 2026-01-11 00:00, periods were over until 2026-01-12 00:00"
    )


def test_a_clock_that_is_set_back_has_the_past_published_as_of_then(
    loop: Loop, answered: pd.DataFrame
):
    loop.at("2026-01-10T01:00")
    (request,) = loop.tick("regulars__new_periods").run_requests
    assert request.job_name == "regulars__publish"
    done = loop.follow(request)
    assert done.success, errors(done)
    assert checks(done)["published_in_time"].passed
    state = loop.stores.online.published("regulars")
    assert state is not None
    assert state.until == utc("2026-01-10").timestamp() * 1_000_000
    assert not loop.tick("regulars__new_periods").run_requests
