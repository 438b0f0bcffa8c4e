from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHAMPION, QUARANTINED_TAG, RETIRED_TAG, Registry
from mlops_assets.stores.releases import Releases
from mlops_assets.stores.retirements import Retirement, RetirementLog, Retirements
from mlops_assets_tests.stores.conftest import MakeVersion

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def releases(registry: Registry, tmp_path: Path) -> Releases:
    return Releases(registry, Lake(str(tmp_path / "lake")), tmp_path / "locks")


@pytest.fixture
def served(releases: Releases, model: str, make_version: MakeVersion) -> str:
    """A model whose first version serves; a second one waits."""
    first = make_version()
    make_version()
    release(releases, model, first)
    return model


def release(releases: Releases, model: str, version: str) -> None:
    champion = releases.registry.aliases(model).get(CHAMPION)
    releases.release(
        model,
        version,
        expected_champion=champion,
        actor="test",
        reason="",
        at=NOW,
        loop_time=NOW,
    )


def retire(releases: Releases, model: str, reason: str = "merged") -> tuple[Retirement, bool]:
    return Retirements(releases).retire(model, actor="ann", reason=reason, at=NOW, loop_time=NOW)


def bring_back(releases: Releases, model: str) -> tuple[Retirement | None, bool]:
    return Retirements(releases).bring_back(model, actor="ann", reason="", at=NOW, loop_time=NOW)


def test_a_retired_model_is_served_no_more_and_nothing_of_it_is_lost(
    releases: Releases, served: str
):
    versions, history = releases.registry.versions(served), releases.history(served)
    row, new = retire(releases, served)
    assert new
    assert row.text == "retired by ann at 2026-11-26 00:00 UTC: merged"
    assert served not in releases.registry.plans()
    assert releases.registry.retired()[served] == NOW.isoformat()
    assert CHAMPION not in releases.registry.aliases(served)
    left = releases.registry.versions(served)
    assert [one.version for one in left] == [one.version for one in versions]
    assert releases.history(served) == history
    assert RetirementLog(releases.lake).current(served) == row


def test_retiring_twice_changes_nothing(releases: Releases, served: str):
    row, _ = retire(releases, served)
    assert retire(releases, served, "again") == (row, False)
    assert RetirementLog(releases.lake).of(served) == [row]


def test_a_model_comes_back_with_the_champion_that_it_had(releases: Releases, served: str):
    before = releases.registry.plans()[served]
    retire(releases, served)
    row, changed = bring_back(releases, served)
    assert changed
    assert row is not None
    assert (row.retired, row.version) == (False, "1")
    assert releases.registry.plans()[served] == before
    assert RETIRED_TAG not in releases.registry.model_tags(served)
    assert bring_back(releases, served) == (row, False)
    assert RetirementLog(releases.lake).current(served) is None
    assert retire(releases, served)[1]


def test_what_was_never_retired_cannot_come_back(releases: Releases, served: str):
    assert bring_back(releases, served) == (None, False)
    assert releases.registry.aliases(served)[CHAMPION] == "1"


@pytest.mark.parametrize("undo", [False, True])
def test_a_retirement_that_was_killed_after_its_row_is_finished_by_the_next(
    releases: Releases, served: str, undo: bool
):
    log = RetirementLog(releases.lake)
    if undo:
        retire(releases, served)
    row = Retirement(served, len(log.of(served)), not undo, "1", "ann", "", "2026", "2026")
    log.add(row)
    assert (bring_back if undo else retire)(releases, served) == (row, False)
    assert (CHAMPION in releases.registry.aliases(served)) == undo
    assert (RETIRED_TAG in releases.registry.model_tags(served)) != undo


def test_nothing_is_released_while_a_model_is_retired(releases: Releases, served: str):
    retire(releases, served)
    with pytest.raises(ReleaseError, match=r"is retired since 2026-11-26T00:00.*--undo"):
        release(releases, served, "2")
    with pytest.raises(ReleaseError, match="is retired"):
        releases.rollback(served, actor="guard", reason="", at=NOW, loop_time=NOW)
    assert CHAMPION not in releases.registry.aliases(served)
    assert sorted(one.outcome for one in releases.attempts(served)) == ["lost", "lost", "won"]
    bring_back(releases, served)
    release(releases, served, "2")
    assert releases.registry.aliases(served)[CHAMPION] == "2"


def test_an_alias_set_by_other_hands_does_not_serve_a_retired_model(
    releases: Releases, served: str
):
    retire(releases, served)
    releases.registry.set_alias(served, CHAMPION, "2")
    assert served not in releases.registry.plans()


def test_a_champion_under_quarantine_does_not_come_back(releases: Releases, served: str):
    retire(releases, served)
    releases.registry.set_tags(served, "1", {QUARANTINED_TAG: "outputs"})
    with pytest.raises(ReleaseError, match="quarantine"):
        bring_back(releases, served)
    assert RetirementLog(releases.lake).current(served) is not None


def test_a_model_without_versions_is_no_model_to_retire(releases: Releases, model: str):
    with pytest.raises(ReleaseError, match="has no version: there is nothing to retire"):
        retire(releases, model)
    assert RetirementLog(releases.lake).of(model) == []
