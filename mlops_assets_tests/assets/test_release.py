import dagster as dg
import pytest

from mlops_assets_tests.loop import History, Loop, errors, utc

MODEL = "by_hand"


@pytest.fixture(scope="module")
def trained(loop: Loop) -> Loop:
    """A model whose releases wait for a person, with one challenger that passed its gates."""
    loop.at("2026-01-09")
    assert loop.run(f"{MODEL}__ingest", "2026-01-01", "2026-01-08").success
    result = loop.run(f"{MODEL}__train")
    assert result.success, errors(result)
    return loop


@pytest.fixture(scope="module")
def released(trained: Loop) -> tuple[Loop, dg.ExecuteInProcessResult]:
    """The same, after a person materialised the champion."""
    trained.at("2026-01-09")
    tags = {"mlops/actor": "ada", "mlops/reason": "looks right"}
    result = trained.materialize(MODEL, "champion", tags)
    assert result.success, errors(result)
    return trained, result


def test_a_training_releases_its_challenger_with_a_record(loop: Loop, bikes: History):
    record = loop.stores.releases.history("bike_demand")[0]
    version = loop.stores.registry.version("bike_demand", record.to_version)
    assert "champion" in version.aliases
    assert (record.kind, record.from_version, record.to_version) == ("release", "", "1")
    assert record.run_id == bikes.train.run_id
    assert record.loop_time == utc("2011-08-02").isoformat()
    assert version.tags["released_at"] == record.at
    names = ("training_set", "data_hash", "runtime", "parity", "estimator")
    assert record.evidence_values == {name: version.tags[name] for name in names}
    assert all(record.evidence_values.values())
    shown = loop.materialization("bike_demand", "champion").metadata
    assert (shown["version"].value, shown["release"].value) == ("1", record.id)


def test_where_a_person_approves_the_training_job_has_no_champion(trained: Loop):
    def assets(job: str) -> set[str]:
        keys = trained.definitions.resolve_job_def(job).asset_layer.executable_asset_keys
        return {key.path[-1] for key in keys}

    assert assets(f"{MODEL}__train") == {"training_set", "challenger"}
    released = {"training_set", "challenger", "champion", "model_card"}
    assert assets("bike_demand__train") == released


def test_a_challenger_that_waits_for_a_person_has_passed_and_does_not_serve(trained: Loop):
    candidate = trained.stores.registry.alias(MODEL, "challenger")
    assert candidate is not None
    assert candidate.tags["gates"] == "passed"
    told = trained.tick(f"{MODEL}__retrain")
    if trained.alias(MODEL):
        pytest.skip("the champion was materialised by another test")
    assert not told.run_requests
    assert f"mlops approve {MODEL}" in str(told.skip_message)


def test_a_person_releases_by_materialising_the_champion(
    released: tuple[Loop, dg.ExecuteInProcessResult],
):
    loop, result = released
    record = loop.stores.releases.history(MODEL)[0]
    assert (record.actor, record.reason, record.to_version) == ("ada", "looks right", "1")
    assert record.run_id == result.run_id
    assert "champion" in loop.stores.registry.version(MODEL, "1").aliases


def test_materialising_the_champion_again_changes_nothing(
    released: tuple[Loop, dg.ExecuteInProcessResult],
):
    loop, _ = released
    history, aliases = loop.stores.releases.history(MODEL), loop.alias(MODEL)
    before = loop.materialization(MODEL, "champion")
    again = loop.materialize(MODEL, "champion", {"mlops/actor": "grace"})
    assert again.success, errors(again)
    assert loop.stores.releases.history(MODEL) == history
    assert loop.alias(MODEL) == aliases
    after = loop.materialization(MODEL, "champion")
    assert after.metadata["release"] == before.metadata["release"]
    assert after.tags["dagster/data_version"] == before.tags["dagster/data_version"]


def test_the_rollback_job_restores_the_version_before(
    released: tuple[Loop, dg.ExecuteInProcessResult],
):
    loop, _ = released
    assert loop.run(f"{MODEL}__train").success
    assert loop.materialize(MODEL, "champion").success
    assert loop.alias(MODEL) == "2"
    tags = {"mlops/version": "2", "mlops/actor": "ada", "mlops/reason": "it harms"}
    result = loop.run(f"{MODEL}__rollback", tags=tags)
    assert result.success, errors(result)
    assert loop.alias(MODEL) == "1"
    record = loop.stores.releases.history(MODEL)[-1]
    assert (record.kind, record.actor, record.reason) == ("rollback", "ada", "it harms")
    assert loop.materialization(MODEL, "champion").metadata["version"].value == "1"
    card = loop.materialization(MODEL, "model_card").metadata
    assert card["version"].value == "1"
    assert "Made the champion again" in card["model_card"].value
    # The same rollback, delivered twice, does not swing back.
    assert loop.run(f"{MODEL}__rollback", tags=tags).success
    assert loop.alias(MODEL) == "1"
    # What a report has convicted does not come back by another sensor.
    assert loop.stores.registry.version(MODEL, "2").quarantined == ""
    decided = {**tags, "mlops/decision": "decision 7"}
    for _ in range(2):
        assert loop.run(f"{MODEL}__rollback", tags=decided).success
    assert loop.stores.registry.version(MODEL, "2").quarantined == "quality: it harms"
    (incident,) = loop.stores.releases.incidents(MODEL)
    assert (incident.version, incident.rolled_back_to, incident.actor) == ("2", "1", "ada")
    assert incident.evidence_values == {"decision": "decision 7"}
    refused = loop.materialize(MODEL, "champion")
    assert not refused.success
    assert "version 2 is quarantined" in errors(refused)
    assert loop.alias(MODEL) == "1"
