import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from shutil import copy
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.settings import Settings
from mlops_assets.stores.cards import Cards, KeptCard
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.cli.versions import MODEL, add_version, alias, store
from mlops_assets_tests.domain.cards import facts as facts_of
from mlops_assets_tests.loop import SHIPPED

CHAMPION = dg.AssetKey([MODEL, "champion"])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def answer(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def shown(settings: Settings) -> list[dg.AssetMaterialization]:
    """What Dagster shows of the champion asset, newest first."""
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        records = instance.fetch_materializations(CHAMPION, limit=10).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def facts(event: dg.AssetMaterialization) -> dict[str, Any]:
    return {name: value.value for name, value in event.metadata.items()}


def test_an_approval_moves_the_alias_and_is_recorded_and_shown_by_dagster(prepared: Settings):
    Clock(prepared.clock_file).set(datetime(2013, 7, 1, tzinfo=UTC))
    add_version(prepared)
    assert alias(prepared, "champion") is None
    found = answer("approve", MODEL, "--reason", "looks [good] to me")
    assert alias(prepared, "champion") == "1"
    (record,) = store(prepared).history(MODEL)
    actor = f"{getpass.getuser()}@cli"
    assert (record.kind, record.from_version, record.to_version) == ("release", "", "1")
    assert (record.actor, record.reason) == (actor, "looks [good] to me")
    assert record.loop_time == "2013-07-01T00:00:00+00:00"
    assert record.evidence_values["estimator"] == "ridge alpha=1"
    assert found == {**vars(record), "evidence": record.evidence_values, "moved": True}
    (event,) = shown(prepared)
    assert facts(event) == {
        "version": "1",
        "previous_version": "",
        "release": record.id,
        "released_at": record.at,
        "actor": actor,
        "reason": "looks [good] to me",
        "evidence": record.evidence_values,
    }
    assert (event.tags or {})["dagster/data_version"] == "flight_delay-1"


def test_an_approval_that_is_run_again_changes_nothing(prepared: Settings):
    add_version(prepared)
    first = answer("approve", MODEL)
    assert answer("approve", MODEL) == {**first, "moved": False}
    assert len(store(prepared).history(MODEL)) == len(shown(prepared)) == 1
    assert "version 1 already is the champion" in run("approve", MODEL).stdout


def test_dagster_is_told_by_the_next_approval_if_the_first_was_killed_before(prepared: Settings):
    add_version(prepared)
    now = datetime.now(UTC)
    record = store(prepared).release(
        MODEL, "1", expected_champion=None, actor="a", reason="b", at=now, loop_time=now
    )
    assert shown(prepared) == []
    assert answer("approve", MODEL)["id"] == record.id
    assert facts(shown(prepared)[0])["release"] == record.id


@pytest.mark.parametrize("option", [(), ("--version", "2")])
def test_a_version_whose_gates_failed_is_refused_and_nothing_moves(
    prepared: Settings, option: tuple[str, ...]
):
    add_version(prepared)
    run("approve", MODEL)
    add_version(prepared, gates="failed", judged_against="1")
    result = run("approve", MODEL, *option)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: flight_delay version 2 has not passed its gates")
    assert (alias(prepared, "champion"), alias(prepared, "previous_champion")) == ("1", None)
    assert len(store(prepared).history(MODEL)) == len(shown(prepared)) == 1


def test_a_challenger_judged_against_another_champion_is_refused(prepared: Settings):
    add_version(prepared)
    add_version(prepared, judged_against="1")
    add_version(prepared, judged_against="1")
    for version in ("1", "2"):
        assert run("approve", MODEL, "--version", version).exit_code == 0
    result = run("approve", MODEL)
    assert result.exit_code == 1
    assert "the champion is 2, not 1 as when version 3 was judged" in result.stderr
    assert alias(prepared, "champion") == "2"


def test_a_rollback_moves_back_and_is_recorded_and_shown_by_dagster(prepared: Settings):
    add_version(prepared)
    run("approve", MODEL)
    add_version(prepared, judged_against="1")
    assert answer("approve", MODEL)["from_version"] == "1"
    found = answer("rollback", MODEL, "--reason", "angry customers")
    assert (found["kind"], found["from_version"], found["to_version"]) == ("rollback", "2", "1")
    assert (alias(prepared, "champion"), alias(prepared, "previous_champion")) == ("1", "2")
    assert [record.kind for record in store(prepared).history(MODEL)][-1] == "rollback"
    event = shown(prepared)[0]
    assert facts(event)["release"] == found["id"]
    assert facts(event)["reason"] == "angry customers"
    assert (event.tags or {})["dagster/data_version"] == "flight_delay-1"


def test_the_cards_of_both_versions_tell_a_move_at_once(prepared: Settings, tmp_path: Path):
    copy(SHIPPED / MODEL / "defs.yaml", prepared.models_dir / MODEL)
    cards = Cards(Lake(prepared.lake_root))
    for version in ("1", "2"):
        add_version(prepared, judged_against="1" if version == "2" else "")
        (tmp_path / version).mkdir()
        known = facts_of(model=MODEL, version=version)
        cards.keep(KeptCard(known, {}, "run", (tmp_path / version).as_uri()))
        assert run("approve", MODEL, "--reason", "fine").exit_code == 0
    pages = [tmp_path / version / "card" / "model_card.md" for version in ("1", "2")]
    assert "Replaced by version 2" in pages[0].read_text()
    assert "Released" in pages[1].read_text()
    assert run("rollback", MODEL, "--reason", "angry customers").stderr == ""
    assert "Made the champion again" in pages[0].read_text()
    assert "Rolled back to version 1" in pages[1].read_text()
    with dg.DagsterInstance.from_config(str(prepared.dagster_home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([MODEL, "model_card"]))
    assert event is not None
    assert event.asset_materialization is not None
    shown_card = facts(event.asset_materialization)
    assert shown_card["version"] == "1"
    assert shown_card["model_card"] == pages[0].read_text()


def test_a_card_that_cannot_be_written_is_told_and_the_champion_moves(
    prepared: Settings, tmp_path: Path
):
    copy(SHIPPED / MODEL / "defs.yaml", prepared.models_dir / MODEL)
    add_version(prepared)
    (tmp_path / "card").write_text("in the way")
    known = facts_of(model=MODEL, version="1")
    Cards(Lake(prepared.lake_root)).keep(KeptCard(known, {}, "run", tmp_path.as_uri()))
    result = run("approve", MODEL)
    assert result.exit_code == 0
    assert "a model card was not made anew: the card of version 1" in result.stderr
    assert alias(prepared, "champion") == "1"


def test_a_rollback_without_a_previous_champion_is_refused(prepared: Settings):
    add_version(prepared)
    run("approve", MODEL)
    result = run("rollback", MODEL)
    assert result.exit_code == 1
    assert "flight_delay has no previous champion to roll back to" in result.stderr
    assert alias(prepared, "champion") == "1"


@pytest.mark.parametrize("command", ["approve", "rollback"])
def test_a_wrong_name_is_answered_with_the_models_there_are(prepared: Settings, command: str):
    result = run(command, "flights")
    assert result.exit_code == 1
    message = "Error: there is no model 'flights'; models: bike_demand, flight_delay.\n"
    assert result.stderr == message


def test_what_cannot_be_approved_is_told_in_one_line(prepared: Settings):
    assert "bike_demand has no challenger to approve" in run("approve", "bike_demand").stderr
    add_version(prepared)
    result = run("approve", MODEL, "--version", "9")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "flight_delay has no version '9'" in result.stderr


def test_a_fresh_home_has_nothing_to_approve_and_stays_fresh(
    prepared: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "fresh"))
    result = run("approve", MODEL)
    assert result.exit_code == 1
    assert "flight_delay has no version yet" in result.stderr
    assert not (tmp_path / "fresh").exists()


def test_a_dagster_that_cannot_be_told_is_an_error_that_says_how_to_go_on(prepared: Settings):
    add_version(prepared)
    configuration = prepared.dagster_home / "dagster.yaml"
    good = configuration.read_text()
    configuration.write_text("nonsense: {}\n")
    result = run("approve", MODEL)
    assert result.exit_code == 1
    assert "run `mlops approve flight_delay --version 1` once it works again" in result.stderr
    assert alias(prepared, "champion") == "1"
    configuration.write_text(good)
    assert answer("approve", MODEL, "--version", "1")["moved"] is False
    assert len(shown(prepared)) == 1
