import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.plan import SHADOW_TAG, SPLIT_TAG
from mlops_assets.stores.incidents import Finding
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHALLENGER, CHAMPION, Registry
from mlops_assets.stores.releases import Releases
from mlops_assets_tests.stores.conftest import MakeVersion

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
FINDING = Finding("errors", ("5 of 5 requests raised an error",), {"requests": 5})
WHEN = {"at": NOW, "loop_time": NOW - timedelta(days=1)}


@pytest.fixture
def releases(registry: Registry, tmp_path: Path) -> Releases:
    return Releases(registry, Lake(str(tmp_path / "lake")), tmp_path / "locks")


def release(releases: Releases, model: str, version: str, champion: str | None) -> Any:
    return releases.release(
        model, version, expected_champion=champion, actor="loop", reason="drift", **WHEN
    )


def roll_back(releases: Releases, model: str, **more: Any) -> Any:
    cause = {"actor": "guard", "reason": "it fails", "finding": FINDING, **WHEN}
    return releases.rollback(model, **{**cause, **more})


def champion(releases: Releases, model: str) -> str:
    found = releases.registry.alias(model, CHAMPION)
    assert found is not None
    return found.version


def test_a_version_that_is_rolled_back_for_a_finding_is_quarantined_with_an_incident(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    release(releases, model, second, first)
    record = roll_back(releases, model)
    assert champion(releases, model) == first
    assert releases.registry.version(model, second).quarantined == (
        "errors: 5 of 5 requests raised an error"
    )
    (incident,) = releases.incidents(model)
    assert (incident.version, incident.rolled_back_to, incident.actor) == (second, first, "guard")
    assert (incident.kind, incident.reasons) == ("errors", "5 of 5 requests raised an error")
    assert incident.evidence_values == {"requests": 5}
    assert incident.at == record.at == NOW.isoformat()
    assert incident.loop_time == (NOW - timedelta(days=1)).isoformat()


def test_nothing_promotes_a_quarantined_version_again(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    release(releases, model, second, first)
    roll_back(releases, model)
    with pytest.raises(ReleaseError, match=f"version {second} is quarantined .*mlops unquarantine"):
        release(releases, model, second, first)
    # Nor does a second rollback swing back to it.
    with pytest.raises(ReleaseError, match=f"version {second} is quarantined"):
        releases.rollback(model, actor="me", reason="again", **WHEN)
    assert champion(releases, model) == first


def test_a_champion_that_other_hands_set_goes_back_to_the_version_that_is_told(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    for version in (first, second):
        releases.registry.set_alias(model, CHAMPION, version)
    record = roll_back(releases, model, expected_champion=second, target=first)
    assert (record.from_version, record.to_version) == (second, first)
    assert champion(releases, model) == first
    assert roll_back(releases, model, expected_champion=second, target=first) == record
    assert len(releases.incidents(model)) == 1


def test_a_rollback_to_a_champion_that_is_gone_quarantines_nothing(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second, third = (make_version() for _ in range(3))
    releases.registry.set_alias(model, CHAMPION, third)
    with pytest.raises(ReleaseError, match=f"the champion is {third}, not {second}"):
        roll_back(releases, model, expected_champion=second, target=first)
    assert releases.incidents(model) == []
    assert releases.registry.version(model, second).quarantined == ""


def test_a_finding_may_come_after_the_rollback(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    release(releases, model, second, first)
    releases.rollback(model, actor="me", reason="hm", expected_champion=second, **WHEN)
    for _ in range(2):
        roll_back(releases, model, expected_champion=second)
    assert releases.registry.version(model, second).quarantined
    assert len(releases.incidents(model)) == 1


def test_a_withdrawn_version_leaves_split_and_shadow_and_others_stay(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second, third = (make_version() for _ in range(3))
    release(releases, model, first, None)
    releases.registry.set_alias(model, CHALLENGER, second)
    split = {CHALLENGER: {"weight": 10, "version": second}, second: 5, third: 20}
    releases.registry.set_model_tag(model, SPLIT_TAG, json.dumps(split))
    releases.registry.set_model_tag(model, SHADOW_TAG, CHALLENGER)
    made = [releases.withdraw(model, second, FINDING, actor="guard", **WHEN) for _ in range(2)]
    tags = releases.registry.model_tags(model)
    assert json.loads(tags[SPLIT_TAG]) == {third: {"weight": 20.0}}
    assert SHADOW_TAG not in tags
    assert champion(releases, model) == first
    assert made[0] == made[1]
    assert releases.incidents(model) == made[:1]
    assert made[0].rolled_back_to == ""
    releases.withdraw(model, third, FINDING, actor="guard", **WHEN)
    assert SPLIT_TAG not in releases.registry.model_tags(model)


def test_a_split_that_makes_no_sense_does_not_stop_a_quarantine(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    releases.registry.set_model_tag(model, SPLIT_TAG, "{")
    releases.withdraw(model, second, FINDING, actor="guard", **WHEN)
    assert releases.registry.version(model, second).quarantined


def test_the_champion_cannot_be_withdrawn(
    releases: Releases, model: str, make_version: MakeVersion
):
    first = make_version()
    release(releases, model, first, None)
    with pytest.raises(ReleaseError, match="is the champion: roll it back"):
        releases.withdraw(model, first, FINDING, actor="guard", **WHEN)
    assert releases.incidents(model) == []


def test_a_person_lets_a_version_out_with_a_record_and_it_may_go_in_again(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    releases.withdraw(model, second, FINDING, actor="guard", **WHEN)
    later = {"at": NOW + timedelta(hours=1), "loop_time": NOW}
    cleared = releases.unquarantine(model, second, actor="ada", reason="a bug of ours", **later)
    assert (cleared.kind, cleared.reasons, cleared.actor) == ("cleared", "a bug of ours", "ada")
    with pytest.raises(ReleaseError, match="is not quarantined"):
        releases.unquarantine(model, second, actor="ada", reason="again", **later)
    release(releases, model, second, first)
    roll_back(releases, model, at=NOW + timedelta(hours=2))
    assert [one.kind for one in releases.incidents(model)] == ["errors", "cleared", "errors"]
    assert releases.registry.version(model, second).quarantined


def test_a_release_ends_the_split_that_was_compared_with_the_champion_before(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    releases.registry.set_model_tag(model, SPLIT_TAG, f'{{"{second}": 10}}')
    releases.registry.set_model_tag(model, SHADOW_TAG, CHALLENGER)
    release(releases, model, second, first)
    tags = releases.registry.model_tags(model)
    assert SPLIT_TAG not in tags
    assert tags[SHADOW_TAG] == CHALLENGER
