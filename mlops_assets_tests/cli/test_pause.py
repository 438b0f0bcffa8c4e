import json
from typing import Any

import dagster as dg
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.domain.governor import Verdict
from mlops_assets.domain.retraining import Decision
from mlops_assets.settings import Settings
from mlops_assets.stores import verdicts
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.monitoring import decision_content, keep

MODEL = "flight_delay"
DECISION = Decision("abc", MODEL, "2013-07-08", "1", "retrain", None, ("harm is proven",))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def status() -> dict[str, Any]:
    return dict(json.loads(run("status", MODEL, "--json").stdout)["models"][0])


def test_a_model_is_paused_and_resumed_and_both_show_everywhere(prepared: Settings):
    said = run("pause", MODEL, "--reason", "an audit").stdout
    assert said.startswith(f"{MODEL}: retraining is paused by ")
    assert said.endswith(" UTC: an audit.\n")
    assert status()["paused"].endswith("UTC: an audit")
    shown = " ".join(run("status", MODEL).stdout.replace("│", " ").split())
    assert "an audit; `mlops resume flight_delay` ends it" in shown
    with dg.DagsterInstance.from_config(str(prepared.dagster_home)) as instance:
        key = dg.AssetKey([MODEL, "retrain_decision"])
        (record,) = instance.fetch_observations(key, limit=5).records
        metadata = record.asset_observation.metadata
        assert (metadata["paused"].value, metadata["reason"].value) == (True, "an audit")
    again = run("pause", MODEL, "--reason", "later").stdout
    assert again.startswith(f"{MODEL}: nothing changes, retraining is paused by ")
    resumed = json.loads(run("resume", MODEL, "--json").stdout)
    assert (resumed["paused"], resumed["changed"]) == (False, True)
    assert status()["paused"] == ""


def test_what_was_never_paused_is_not_resumed(prepared: Settings):
    said = run("resume", "bike_demand").stdout
    assert said == "bike_demand: nothing changes, retraining was never paused.\n"
    result = run("pause", "flights")
    assert result.exit_code == 1
    assert "there is no model 'flights'" in result.stderr


def test_the_status_says_what_became_of_the_newest_decision(prepared: Settings):
    lake = Lake(prepared.lake_root)
    keep(lake, MODEL, "decisions", DECISION.period, decision_content(DECISION))
    assert status()["governor"] is None
    about = "retrain of version 1 after 2013-07-08"
    verdicts.keep(lake, DECISION, Verdict("drop", "budget", "abc", f"{about}: budget spent"))
    assert status()["governor"]["rule"] == "budget"
    assert "dropped: budget spent" in run("status", MODEL).stdout
    verdicts.keep(lake, DECISION, Verdict("start", "allowed", "abc", f"{about}: harm"))
    assert "a run was started" in run("status", MODEL).stdout
