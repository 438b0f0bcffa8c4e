from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.plan import SHADOW_TAG, SPLIT_TAG, PlannedVariant
from mlops_assets.domain.split import split_of_words
from mlops_assets.stores.incidents import Finding
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHALLENGER, CHAMPION, Registry
from mlops_assets.stores.releases import Releases
from mlops_assets.stores.splits import Splits
from mlops_assets_tests.stores.conftest import MakeVersion

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
TEN = split_of_words(["champion=90", "challenger=10"])


@pytest.fixture
def splits(registry: Registry, tmp_path: Path) -> Splits:
    return Splits(Releases(registry, Lake(str(tmp_path / "lake")), tmp_path / "locks"))


@pytest.fixture
def versions(registry: Registry, model: str, make_version: MakeVersion) -> tuple[str, str, str]:
    """The champion, the challenger, and a version that has not passed its gates."""
    first, second, third = make_version(), make_version(), make_version(gates="failed")
    registry.set_alias(model, CHAMPION, first)
    registry.set_alias(model, CHALLENGER, second)
    return first, second, third


def test_a_split_keeps_the_version_that_the_alias_meant(
    splits: Splits, model: str, versions: tuple[str, str, str], make_version: MakeVersion
):
    expected = (PlannedVariant("challenger", versions[1], 10.0),)
    assert splits.split(model, TEN, actor="ada").split == expected
    splits.releases.registry.set_alias(model, CHALLENGER, make_version())
    assert splits.plan(model).split == expected
    assert splits.split(model, split_of_words([]), actor="ada").split == ()
    assert SPLIT_TAG not in splits.releases.registry.model_tags(model)


def test_only_force_gives_traffic_to_a_version_without_gates(
    splits: Splits, model: str, versions: tuple[str, str, str]
):
    asked = split_of_words([f"{versions[2]}=5"])
    with pytest.raises(ReleaseError, match="has not passed its gates; --force"):
        splits.split(model, asked, actor="ada")
    assert SPLIT_TAG not in splits.releases.registry.model_tags(model)
    plan = splits.split(model, asked, actor="ada", force=True)
    assert plan.split == (PlannedVariant(versions[2], versions[2], 5.0),)
    tags = splits.releases.registry.version(model, versions[2]).tags
    assert tags["serving.split_forced"] == "ada"


def test_a_quarantined_version_gets_nothing_whatever_the_force(
    splits: Splits, model: str, versions: tuple[str, str, str]
):
    finding = Finding("errors", ("it fails",), {})
    splits.releases.withdraw(model, versions[1], finding, actor="guard", at=NOW, loop_time=NOW)
    with pytest.raises(ReleaseError, match=r"is quarantined \(errors: it fails\)\.$"):
        splits.split(model, TEN, actor="ada", force=True)
    with pytest.raises(ReleaseError, match="is quarantined"):
        splits.shadow(model, CHALLENGER)


def test_the_champion_is_no_variant_and_does_not_watch_itself(
    splits: Splits, model: str, versions: tuple[str, str, str]
):
    with pytest.raises(ReleaseError, match=f"is version {versions[0]}, the champion"):
        splits.split(model, split_of_words([f"{versions[0]}=5"]), actor="ada")
    with pytest.raises(ReleaseError, match="is the champion already"):
        splits.shadow(model, versions[0])


def test_any_version_may_watch_and_an_alias_is_followed(
    splits: Splits, model: str, versions: tuple[str, str, str]
):
    assert splits.shadow(model, versions[2]).shadow == versions[2]
    assert splits.shadow(model, CHALLENGER).shadow == versions[1]
    splits.releases.registry.set_alias(model, CHALLENGER, versions[2])
    assert splits.plan(model).shadow == versions[2]
    assert splits.shadow(model, "").shadow == ""
    assert SHADOW_TAG not in splits.releases.registry.model_tags(model)


def test_a_name_that_means_nothing_is_refused(
    splits: Splits, model: str, versions: tuple[str, str, str]
):
    with pytest.raises(ReleaseError, match="no version 'canary'"):
        splits.split(model, split_of_words(["canary=5"]), actor="ada")
    with pytest.raises(ReleaseError, match="no version 'nobody'"):
        splits.shadow(model, "nobody")


def test_a_model_without_a_champion_has_nothing_to_share(
    splits: Splits, model: str, make_version: MakeVersion
):
    version = make_version()
    for act in (
        lambda: splits.split(model, split_of_words([f"{version}=5"]), actor="ada"),
        lambda: splits.shadow(model, version),
    ):
        with pytest.raises(ReleaseError, match="has no champion"):
            act()
    assert splits.releases.registry.model_tags(model) == {}
