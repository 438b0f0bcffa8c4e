import json
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.features import as_arrays
from mlops_assets.domain.splits import TrainingSet
from mlops_assets.stores import training_rows
from mlops_assets.stores.bundles import load_scorer
from mlops_assets_tests.loop import (
    History,
    Loop,
    add_parcels,
    checks,
    errors,
    parcel_spec,
    utc,
)

BINARY = {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier"}
REGRESSION = {"mae", "rmse", "r2"}
PLOTS = {
    "flight_delay": {"confusion_matrix", "roc", "calibration", "importance"},
    "bike_demand": {"predicted_against_actual", "residuals", "importance"},
}
GATES = {
    "minimum_quality",
    "not_worse_than_champion",
    "slices_hold",
    "calibrated",
    "serves_as_trained",
    "documented",
}
TRAIN = """
import sys
import dagster as dg
from mlops_assets.definitions import defs
with dg.DagsterInstance.get() as instance:
    defs().resolve_job_def(sys.argv[1]).execute_in_process(instance=instance)
"""


@pytest.fixture(params=["bikes", "flights"])
def history(request: pytest.FixtureRequest) -> History:
    """Both shipped models."""
    found: History = request.getfixturevalue(request.param)
    return found


def manifest_of(loop: Loop, model: str, train: dg.ExecuteInProcessResult) -> TrainingSet:
    """The set that a training froze."""
    events = train.asset_materializations_for_node(f"{model}__training_set")
    return training_rows.load(
        model, loop.stores.lake, str(events[0].metadata["training_set"].value)
    )


def children(loop: Loop, parent: Any) -> list[Any]:
    return loop.mlflow_runs(f"tags.mlflow.parentRunId = '{parent.info.run_id}'")


def test_no_row_is_used_whose_label_was_unknown_at_the_training(loop: Loop, parcels: History):
    model, now = loop.model("parcels"), pd.Timestamp("2026-01-09", tz="UTC")
    manifest = manifest_of(loop, "parcels", parcels.train)
    assert datetime.fromisoformat(manifest.as_of) == now
    rows = pq.read_table(model.folder / "rows.parquet").to_pandas()
    day = rows["sent_at"].dt.strftime("%Y-%m-%d")
    labelled = rows["hours"].notna()
    known = labelled & (rows["arrived_at"] <= now)
    found = {part.period: part.rows for part in manifest.periods}
    assert found == {period: int((known & (day == period)).sum()) for period in found}
    assert sorted(found) == [f"2026-01-0{number}" for number in range(1, 6)]
    # Of the newest days some labels were known, those of near parcels: they are not trained on.
    for period in ("2026-01-06", "2026-01-07", "2026-01-08"):
        assert 0 < int((known & (day == period)).sum()) < int((labelled & (day == period)).sum())
    used = training_rows.read(model, loop.stores.lake, manifest, manifest.split.holdout)
    expected = rows[known & day.isin(manifest.split.holdout)].sort_values("sent_at", kind="stable")
    np.testing.assert_array_equal(np.sort(used.frame["weight"]), np.sort(expected["weight"]))
    assert used.classes == ("0", "1")
    assert used.y.sum() == (expected["hours"] > 24).sum()


def test_labels_that_come_later_do_not_change_a_frozen_set(loop: Loop, parcels: History):
    model, lake = loop.model("parcels"), loop.stores.lake
    manifest = manifest_of(loop, "parcels", parcels.train)
    later = training_rows.freeze(model, lake, utc("2026-01-12"), None)
    assert later.rows > manifest.rows
    assert later.id != manifest.id
    again = training_rows.load("parcels", lake, manifest.id)
    assert again == manifest
    assert len(training_rows.read(model, lake, again, again.split.periods)) == manifest.rows


def test_a_training_is_split_by_time(loop: Loop, history: History):
    split = manifest_of(loop, history.model, history.train).split
    training = loop.model(history.model).spec.training
    assert split.periods == tuple(sorted(split.periods))
    assert (split.periods[0], split.periods[-1]) == (history.first, history.last)
    assert (len(split.validation), len(split.holdout)) == (training.validation, training.holdout)


def test_one_dagster_run_is_one_finished_mlflow_run_with_nested_trials(
    loop: Loop, history: History
):
    runs = loop.mlflow_runs(f"tags.dagster_run_id = '{history.train.run_id}'")
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    trials = children(loop, parents[0])
    candidates = loop.model(history.model).spec.training.candidates
    assert {trial.data.params["estimator"] for trial in trials} == {
        candidate.estimator for candidate in candidates
    }
    wanted = REGRESSION if history.model == "bike_demand" else BINARY
    for trial in trials:
        assert trial.info.status == "FINISHED"
        assert {f"validation_{name}" for name in wanted} <= set(trial.data.metrics)
    assert len(trials) == (5 if history.model == "bike_demand" else 2)


def test_mlflow_holds_params_metrics_input_and_plots(loop: Loop, history: History):
    parent = loop.parent_run(history.train)
    manifest = manifest_of(loop, history.model, history.train)
    assert parent.data.params["training_set"] == manifest.id
    assert parent.data.params["rows"] == str(manifest.rows)
    wanted = REGRESSION if history.model == "bike_demand" else BINARY
    assert {f"holdout_{name}" for name in wanted} <= set(parent.data.metrics)
    (dataset,) = [found.dataset for found in parent.inputs.dataset_inputs]
    assert dataset.digest == manifest.data_hash[:32]
    plots = loop.stores.registry.client.list_artifacts(parent.info.run_id, "plots")
    assert {Path(plot.path).stem for plot in plots} == PLOTS[history.model]
    assert all(plot.file_size > 1000 for plot in plots)


def test_the_registered_version_has_signature_input_example_and_provenance(
    loop: Loop, history: History, tmp_path: Path
):
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    manifest = manifest_of(loop, history.model, history.train)
    version = loop.stores.registry.version(history.model, "1")
    uri = f"models:/{history.model}/1"
    folder = download_artifacts(uri, dst_path=str(tmp_path), tracking_uri=loop.settings.mlflow_uri)
    card = Model.load(folder)
    columns = list(loop.model(history.model).spec.columns)
    assert card.signature.inputs.input_names() == columns
    assert card.saved_input_example_info is not None
    example = json.loads((Path(folder) / "input_example.json").read_text())
    assert example["columns"] == columns
    assert len(example["data"]) == 5
    assert not list(Path(folder).rglob("*.pkl")), "pickle can run code when it is loaded"
    assert version.tags["gates"] == "passed"
    assert version.tags["training_set"] == manifest.id
    assert version.tags["dagster_run_id"] == history.train.run_id
    assert version.run_id == loop.parent_run(history.train).info.run_id


def test_a_user_finds_the_best_trial_by_an_mlflow_search(loop: Loop, history: History):
    parent = loop.parent_run(history.train)
    metric = "mae" if history.model == "bike_demand" else "log_loss"
    best = loop.stores.registry.client.search_runs(
        [parent.info.experiment_id],
        f"tags.mlflow.parentRunId = '{parent.info.run_id}'",
        order_by=[f"metrics.validation_{metric} ASC"],
        max_results=1,
    )[0]
    assert best.data.metrics[f"validation_{metric}"] == min(
        trial.data.metrics[f"validation_{metric}"] for trial in children(loop, parent)
    )
    winner = loop.materialization(history.model, "challenger").metadata["estimator"].value
    assert best.data.tags["trial"] == winner
    assert parent.data.params["estimator"] == best.data.params["estimator"]


def test_every_gate_is_a_blocking_check_with_its_reason(history: History):
    found = checks(history.train)
    assert set(found) == GATES
    for check in found.values():
        assert check.passed
        assert check.blocking
        assert check.description
    assert found["not_worse_than_champion"].description == ("there is no champion to compare with")
    assert found["serves_as_trained"].metadata["share_within"].value >= 0.999


def test_a_second_training_is_compared_with_the_champion_on_the_same_rows(
    loop: Loop, parcels: History
):
    loop.at("2026-01-14")
    assert loop.run("parcels__ingest", "2026-01-09", "2026-01-10").success
    result = loop.run("parcels__train")
    assert result.success, errors(result)
    stores, model = loop.stores, loop.model("parcels")
    version = str(
        result.asset_materializations_for_node("parcels__challenger")[0].metadata["version"].value
    )
    assert stores.registry.version("parcels", version).tags["judged_against"] == "1"
    manifest = manifest_of(loop, "parcels", result)
    assert manifest.split.holdout == ("2026-01-09", "2026-01-10")
    rows = training_rows.read(model, stores.lake, manifest, manifest.split.holdout, ("0", "1"))
    losses = {}
    for number in ("1", version):
        scorer = load_scorer(stores.registry.cached_bundle("parcels", number, stores.bundles))
        losses[number] = row_losses("binary", rows.y, scorer.score(as_arrays(rows.frame)))
    evidence = checks(result)["not_worse_than_champion"].metadata
    assert evidence["champion_loss"].value == pytest.approx(losses["1"].mean())
    difference = (losses[version] - losses["1"]).mean()
    assert evidence["difference"].value == pytest.approx(difference, abs=1e-6)
    assert evidence["difference"].value != 0
    assert evidence["lower"].value <= difference <= evidence["upper"].value
    assert loop.alias("parcels") == version
    assert loop.alias("parcels", "previous_champion") == "1"


def test_a_challenger_that_fails_a_gate_stops_the_run_and_the_champion_stays(
    loop: Loop, parcels: History, tmp_path: Path
):
    champion, records = loop.alias("parcels"), loop.stores.releases.history("parcels")
    gates = {"minimum": {"roc_auc": 0.9999}}
    add_parcels(tmp_path / "strict", "parcels", gates=gates)
    loop.at("2026-01-09")
    strict = loop.load(tmp_path / "strict")
    result = loop.run("parcels__train", definitions=strict)
    assert not result.success
    failed = checks(result)["minimum_quality"]
    assert not failed.passed
    assert "at least 0.9999" in str(failed.description)
    assert not result.asset_materializations_for_node("parcels__champion")
    assert loop.alias("parcels") == champion != ""
    assert loop.stores.releases.history("parcels") == records
    challenger = loop.stores.registry.alias("parcels", "challenger")
    assert challenger is not None
    assert challenger.version != champion
    assert challenger.tags["gates"] == "failed"
    parent = loop.parent_run(result)
    assert parent.info.status == "FAILED"
    assert {trial.info.status for trial in children(loop, parent)} == {"FINISHED"}
    # Nor can a person release it by materialising the champion.
    by_hand = loop.materialize("parcels", "champion")
    assert "has not passed its gates" in errors(by_hand)
    assert loop.alias("parcels") == champion


def test_a_candidate_that_nothing_could_serve_is_refused_before_the_search(
    loop: Loop, parcels: History, tmp_path: Path
):
    own = "mlops_assets_tests.own_estimators:Frequencies"
    training = {**parcel_spec()["training"], "candidates": [{"estimator": own}]}
    add_parcels(tmp_path / "own", "parcels", training=training)
    loop.at("2026-01-09")
    before = loop.alias("parcels", "challenger")
    result = loop.run("parcels__train", definitions=loop.load(tmp_path / "own"))
    assert not result.success
    assert f"{own} could not be served" in errors(result)
    assert "does not trust mlops_assets_tests.own_estimators.Frequencies" in errors(result)
    assert children(loop, loop.parent_run(result)) == []
    assert loop.alias("parcels", "challenger") == before


def test_a_training_without_enough_history_fails_and_closes_its_mlflow_run(
    loop: Loop, parcels: History
):
    loop.at("2026-01-07")
    result = loop.run("parcels__train")
    assert not result.success
    assert "3 periods have labels, but training needs at least 5" in errors(result)
    assert loop.parent_run(result).info.status == "FAILED"


def test_a_killed_training_changes_nothing_and_its_mlflow_run_is_closed(loop: Loop):
    loop.at("2026-01-08")
    assert loop.run("killed__ingest", "2026-01-01", "2026-01-07").success
    # The first step of the job is repeated below with the same outcome.
    training_rows.freeze(loop.model("killed"), loop.stores.lake, utc("2026-01-08"), None)
    before = loop.lake_versions("killed")
    settings = loop.settings.model_copy(update={"models_dir": loop.models})
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", TRAIN, "killed__train"],
        env=settings.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        parent, trials = wait_for_trial(loop, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert parent.info.status == "RUNNING"
    assert trials
    assert loop.alias("killed") == ""
    assert loop.alias("killed", "challenger") == ""
    assert loop.lake_versions("killed") == before
    # What Dagster's run monitoring does when a run's process is gone.
    run = loop.instance.get_run_by_id(parent.data.tags["dagster_run_id"])
    assert run is not None
    assert run.status == dg.DagsterRunStatus.STARTED
    event = loop.instance.report_run_failed(run)
    sensor = loop.definitions.resolve_sensor_def("close_mlflow_runs_of_failure")
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=event,
        dagster_instance=loop.instance,
        dagster_run=run,
        resources={"stores": loop.stores},
    )
    told = sensor(context)
    assert parent.info.run_id in str(told)
    client = loop.stores.registry.client
    assert client.get_run(parent.info.run_id).info.status == "FAILED"
    assert "RUNNING" not in {trial.info.status for trial in children(loop, parent)}


def wait_for_trial(loop: Loop, process: "subprocess.Popen[bytes]") -> tuple[Any, list[Any]]:
    """The MLflow run of the training in `process`, once it has a nested run."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, "the training ended before it could be killed"
        for parent in loop.mlflow_runs("tags.`mlops/model` = 'killed'"):
            if trials := children(loop, parent):
                return parent, trials
        time.sleep(0.1)
    raise AssertionError("no trial appeared in 120 s")
