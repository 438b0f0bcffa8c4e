import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.cli.running import Running, RunningService
from mlops_assets.settings import PROJECT_ROOT, Settings
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.monitoring import keep
from mlops_assets_tests.cli.versions import MODEL, add_version, store

DRIFT = {
    "version": "1",
    "rows": 900,
    "judged": True,
    "flagged": ["wind_speed"],
    "columns": [],
    "reason": "wind_speed drifted",
}
PERFORMANCE = {
    "version": "1",
    "predictions": 1000,
    "labelled": 900,
    "coverage": 0.9,
    "judged": True,
    "metrics": {"accuracy": 0.8},
    "loss": 0.5,
    "reference_loss": 0.4,
    "harmed": True,
    "harmed_part": "carrier",
    "reason": "the loss is higher than at release",
    "previous_is_better": False,
}
DECISION = {
    "id": "abc",
    "model": MODEL,
    "period": "2013-07-08",
    "version": "1",
    "action": "retrain",
    "window": None,
    "reasons": ["[harm] is proven", "and lasts"],
}


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result


def answer(*arguments: str) -> dict[str, Any]:
    return dict(json.loads(run(*arguments, "--json").stdout))


@pytest.fixture
def lived(prepared: Settings) -> Settings:
    """A model with a champion, a challenger that waits for approval, and two watched periods."""
    Clock(prepared.clock_file).set(datetime(2013, 7, 16, tzinfo=UTC))
    add_version(prepared)
    run("approve", MODEL)
    add_version(prepared, judged_against="1")
    lake = store(prepared).lake
    for period in ("2013-07-08", "2013-07-01"):
        lake.write_period(MODEL, "raw_data", period, pa.table({"x": [1.0]}))
        keep(lake, MODEL, "drift_reports", period, {**DRIFT, "rows": int(period[-2:])})
        keep(lake, MODEL, "performance_reports", period, PERFORMANCE)
        keep(lake, MODEL, "decisions", period, {**DECISION, "period": period})
    return prepared


def test_the_status_of_a_model_that_lives(lived: Settings):
    found = answer("status")
    assert found["home"] == str(lived.home)
    assert found["clock"] == {"now": "2013-07-16T00:00:00+00:00", "replaying": True}
    assert (found["services"], found["registry_error"]) == (None, None)
    other, model = found["models"]
    assert (other["model"], other["champion"], other["periods"]) == ("bike_demand", None, 0)
    (record,) = store(lived).history(MODEL)
    champion, challenger = model["champion"], model["challenger"]
    assert (champion["version"], champion["gates"]) == ("1", "passed")
    assert champion["estimator"] == "ridge alpha=1"
    assert champion["released_at"] == record.at
    assert champion["loop_time"] == "2013-07-16T00:00:00+00:00"
    assert (challenger["version"], challenger["judged_against"]) == ("2", "1")
    assert (challenger["released_at"], challenger["loop_time"]) == ("", "")
    assert datetime.fromisoformat(challenger["created_at"]).tzinfo is not None
    assert model["previous_champion"] is None
    assert model["can_be_released"] is True
    assert (model["periods"], model["newest_period"]) == (2, "2013-07-08")
    assert model["gaps"] == []
    assert model["drift"] == {
        "period": "2013-07-08",
        "version": "1",
        "rows": 8,
        "judged": True,
        "flagged": ["wind_speed"],
        "reason": "wind_speed drifted",
    }
    assert model["performance"]["period"] == "2013-07-08"
    assert (model["performance"]["loss"], model["performance"]["reference_loss"]) == (0.5, 0.4)
    assert (model["performance"]["coverage"], model["performance"]["harmed"]) == (0.9, True)
    assert model["decision"]["action"] == "retrain"
    assert model["decision"]["reasons"] == ["[harm] is proven", "and lasts"]


def test_gaps_in_the_history_are_told(prepared: Settings, monkeypatch: pytest.MonkeyPatch):
    lake = store(prepared).lake
    spec = prepared.models_dir / MODEL / "defs.yaml"
    shutil.copy(PROJECT_ROOT / "mlops_assets" / "defs" / MODEL / "defs.yaml", spec)
    weeks = ["2013-01-14", "2013-01-28", "2013-02-11", "2013-02-25", "2013-03-25"]
    for period in weeks[:2]:
        lake.write_period(MODEL, "raw_data", period, pa.table({"x": [1.0]}))
    (model,) = answer("status", MODEL)["models"]
    assert model["gaps"] == ["2013-01-21 has no rows"]
    for period in weeks[2:]:
        lake.write_period(MODEL, "raw_data", period, pa.table({"x": [1.0]}))
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        "2013-02-04 has no rows; 2013-02-18 has no rows; "
        "2013-03-04 … 2013-03-18 have no rows (3 periods); 1 more before"
    ) in run("status", MODEL).stdout
    # Without a spec, or with one of another cadence, nobody knows what is missing.
    lake.write_period(MODEL, "raw_data", "2013-04-01-00:00", pa.table({"x": [1.0]}))
    assert answer("status", MODEL)["models"][0]["gaps"] == []
    spec.write_text("no: model\n")
    assert answer("status", MODEL)["models"][0]["gaps"] == []


def test_one_model_alone_is_shown_when_it_is_named(lived: Settings):
    assert [model["model"] for model in answer("status", MODEL)["models"]] == [MODEL]


def test_people_read_the_same_at_a_glance(lived: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "160")
    text = run("status").stdout
    for part in (
        "Clock     2013-07-16 00:00 (set by a replay)",
        "Services  none: `mlops up` starts them",
        "version 1, ridge alpha=1, gates: passed, released",
        "`mlops approve flight_delay` releases it",
        "2 periods, newest 2013-07-08",
        "2013-07-08: wind_speed flagged in 8 rows",
        "harmed in a segment of carrier, loss 0.5000 against 0.4000 at release, 90% labelled",
        "2013-07-08: retrain, [harm] is proven; and lasts",
    ):
        assert part in text


@pytest.mark.parametrize(("gates", "judged_against"), [("failed", "1"), ("passed", "")])
def test_a_challenger_that_would_be_refused_cannot_be_released(
    lived: Settings, gates: str, judged_against: str
):
    add_version(lived, gates=gates, judged_against=judged_against)
    assert answer("status", MODEL)["models"][0]["can_be_released"] is False


def test_what_the_gates_refused_is_shown_with_its_figures(lived: Settings):
    add_version(lived, gates="failed", refused="minimum_quality: log_loss 0.5")
    (model,) = answer("status", MODEL)["models"]
    assert model["challenger"]["refused"] == "minimum_quality: log_loss 0.5"
    assert "(minimum_quality: log_loss 0.5)" in " ".join(run("status", MODEL).stdout.split())


def test_a_champion_is_no_candidate_and_the_one_before_it_is_shown(lived: Settings):
    run("approve", MODEL)
    (model,) = answer("status", MODEL)["models"]
    assert model["champion"]["version"] == model["challenger"]["version"] == "2"
    assert model["previous_champion"]["version"] == "1"
    assert model["can_be_released"] is False
    assert "the champion" in run("status", MODEL).stdout


def test_running_services_are_shown_with_their_addresses(prepared: Settings):
    this = psutil.Process()
    services = (RunningService("mlflow", os.getpid(), "http://127.0.0.1:5000"),)
    Running(this.pid, this.create_time(), "t", True, services).write(prepared.services_file)
    expected = {"ready": True, "urls": {"mlflow": "http://127.0.0.1:5000"}}
    assert answer("status")["services"] == expected
    assert "Service   mlflow http://127.0.0.1:5000" in run("status").stdout
    # What a killed supervisor has left is no running service.
    Running(this.pid, this.create_time() - 60, "t", True, services).write(prepared.services_file)
    assert answer("status")["services"] is None


def test_a_registry_that_cannot_be_read_is_told_and_the_rest_is_shown(lived: Settings):
    Path(lived.mlflow_uri.removeprefix("sqlite:///")).write_bytes(b"this is no database" * 100)
    found = answer("status", MODEL)
    assert found["registry_error"].startswith("the MLflow registry cannot be used: ")
    (model,) = found["models"]
    assert (model["champion"], model["periods"]) == (None, 2)
    assert "cannot be used" in run("status").stdout


def test_a_fresh_home_has_a_status_and_stays_fresh(tmp_path: Path):
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    for options in (["status"], ["releases", MODEL]):
        result = subprocess.run(
            [sys.executable, "-m", "mlops_assets.cli", *options],
            env=Settings(home=tmp_path / "home").environment(),
            cwd=workplace,
            capture_output=True,
            text=True,
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert MODEL in result.stdout
    assert list(tmp_path.iterdir()) == [workplace]
    assert list(workplace.iterdir()) == []


def test_releases_are_listed_newest_first(lived: Settings, monkeypatch: pytest.MonkeyPatch):
    run("approve", MODEL, "--reason", "better on [some] routes")
    run("rollback", MODEL)
    found = answer("releases", MODEL)
    assert found["model"] == MODEL
    moves = [(one["kind"], one["from_version"], one["to_version"]) for one in found["releases"]]
    assert moves == [("rollback", "2", "1"), ("release", "1", "2"), ("release", "", "1")]
    assert found["releases"][1]["evidence"]["training_set"] == "ts-1"
    assert found["releases"][1]["reason"] == "better on [some] routes"
    monkeypatch.setenv("COLUMNS", "160")
    text = run("releases", MODEL).stdout
    assert text.index("rollback 2 → 1") < text.index("release 1 → 2")
    assert "better on [some] routes" in text
    assert "(loop time 2013-07-16 00:00)" in text
    assert run("releases", "bike_demand").stdout == "bike_demand was never released.\n"


@pytest.mark.parametrize("command", ["status", "releases"])
def test_a_wrong_name_is_answered_with_the_models_there_are(prepared: Settings, command: str):
    result = CliRunner().invoke(main, [command, "flights"])
    assert result.exit_code == 1
    message = "Error: there is no model 'flights'; models: bike_demand, flight_delay.\n"
    assert result.stderr == message
