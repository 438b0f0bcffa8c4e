from pathlib import Path

import pytest

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.errors import BundleError, ReleaseError
from mlops_assets.domain.plan import SHADOW_TAG, SPLIT_TAG, ChampionRef, PlannedVariant
from mlops_assets.stores.bundles import write_manifest
from mlops_assets.stores.registry import (
    CHALLENGER,
    CHAMPION,
    QUARANTINED_TAG,
    RELEASED_AT_TAG,
    SPLIT_FORCED_TAG,
    Registry,
    as_tag,
)
from mlops_assets_tests.stores.conftest import MakeVersion


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    columns = (ContractColumn("a", "number", nullable=False),)
    contract = Contract("m", "regression", columns, (), "id", "at", 10)
    (folder / "contract.json").write_bytes(contract.to_json())
    (folder / "model.skops").write_bytes(b"some bytes")
    (folder / "reference.json").write_bytes(b"{}")
    write_manifest(folder, "skops", {})
    return folder


def test_a_version_tells_its_gates_and_aliases(
    registry: Registry, model: str, make_version: MakeVersion
):
    good, bad = make_version(), make_version(gates="failed")
    registry.set_alias(model, CHALLENGER, good)
    found = registry.version(model, good)
    assert (found.passed_gates, found.aliases) == (True, (CHALLENGER,))
    assert not registry.version(model, bad).passed_gates
    assert not registry.version(model, make_version(gates="")).passed_gates
    assert found.created_at > 1.7e9
    assert found.run_id


@pytest.mark.parametrize("version", ["99", "latest", ""])
def test_a_version_that_is_not_there_is_named(registry: Registry, model: str, version: str):
    with pytest.raises(ReleaseError, match=f"{model} has no version '{version}'"):
        registry.version(model, version)


def test_versions_come_newest_first(registry: Registry, model: str, make_version: MakeVersion):
    made = [make_version() for _ in range(11)]
    assert [found.version for found in registry.versions(model)] == made[::-1]


def test_an_alias_points_to_one_version_or_none(
    registry: Registry, model: str, make_version: MakeVersion
):
    assert registry.alias(model, CHAMPION) is None
    assert registry.alias("never registered", CHAMPION) is None
    first, second = make_version(), make_version()
    registry.set_alias(model, CHAMPION, first)
    registry.set_alias(model, CHAMPION, second)
    found = registry.alias(model, CHAMPION)
    assert found is not None
    assert found.version == second
    assert registry.version(model, first).aliases == ()


def test_champions_are_those_of_all_models_with_their_release_times(
    registry: Registry, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    registry.set_alias(model, CHALLENGER, second)
    assert model not in registry.champions()
    registry.set_alias(model, CHAMPION, first)
    assert registry.champions()[model] == ChampionRef(first, "")
    registry.set_tags(model, first, {RELEASED_AT_TAG: "2024-01-01T00:00:00+00:00"})
    assert registry.champions()[model].released_at == "2024-01-01T00:00:00+00:00"


def test_a_plan_resolves_what_any_client_may_have_tagged(
    registry: Registry, model: str, make_version: MakeVersion
):
    first, second, third = make_version(), make_version(), make_version(gates="failed")
    registry.set_alias(model, CHAMPION, first)
    registry.set_alias(model, CHALLENGER, second)
    registry.client.set_registered_model_tag(model, SPLIT_TAG, '{"challenger": 10}')
    registry.client.set_registered_model_tag(model, SHADOW_TAG, third)
    plan = registry.plans()[model]
    assert plan.split == (PlannedVariant("challenger", second, 10.0),)
    assert (plan.shadow, plan.problems, plan.quarantined) == (third, (), frozenset())
    registry.set_model_tag(model, SPLIT_TAG, "")
    registry.set_model_tag(model, SPLIT_TAG, "")
    assert registry.plans()[model].split == ()


def test_a_version_gets_traffic_only_with_its_gates_or_by_force_and_never_from_quarantine(
    registry: Registry, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version(gates="failed")
    registry.set_alias(model, CHAMPION, first)
    registry.set_model_tag(model, SPLIT_TAG, f'{{"{second}": 10}}')
    registry.set_model_tag(model, SHADOW_TAG, second)
    (problem,) = registry.plans()[model].problems
    assert "has not passed its gates" in problem
    registry.set_tags(model, second, {SPLIT_FORCED_TAG: "ada"})
    assert registry.plans()[model].split == (PlannedVariant(second, second, 10.0),)
    registry.set_tags(model, second, {QUARANTINED_TAG: "it fails"})
    plan = registry.plans()[model]
    assert (plan.split, plan.shadow, plan.quarantined) == ((), "", {second})
    assert all("quarantined (it fails)" in problem for problem in plan.problems)
    registry.remove_tag(model, second, QUARANTINED_TAG)
    registry.remove_tag(model, second, QUARANTINED_TAG)
    assert registry.plans()[model].shadow == second


def test_a_bundle_is_fetched_once_and_verified(
    registry: Registry, model: str, make_version: MakeVersion, bundle: Path, tmp_path: Path
):
    version = make_version(bundle=bundle)
    cache = tmp_path / "cache"
    folder = registry.cached_bundle(model, version, cache)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in bundle.iterdir()
    }
    before = (folder / "model.skops").stat().st_mtime_ns
    assert registry.cached_bundle(model, version, cache) == folder
    assert (folder / "model.skops").stat().st_mtime_ns == before
    assert [path.name for path in folder.parent.iterdir()] == [version]


def test_a_damaged_bundle_is_refused_and_leaves_nothing_behind(
    registry: Registry, model: str, make_version: MakeVersion, bundle: Path, tmp_path: Path
):
    (bundle / "model.skops").write_bytes(b"other bytes")
    version = make_version(bundle=bundle)
    with pytest.raises(BundleError, match=r"model\.skops"):
        registry.cached_bundle(model, version, tmp_path / "cache")
    assert list((tmp_path / "cache" / model).iterdir()) == []


def test_a_bundle_damaged_in_the_cache_is_refused(
    registry: Registry, model: str, make_version: MakeVersion, bundle: Path, tmp_path: Path
):
    version = make_version(bundle=bundle)
    folder = registry.cached_bundle(model, version, tmp_path / "cache")
    (folder / "model.skops").write_bytes(b"other bytes")
    with pytest.raises(BundleError, match=r"model\.skops"):
        registry.cached_bundle(model, version, tmp_path / "cache")


def test_tags_are_text():
    assert as_tag("plain") == "plain"
    assert as_tag({"b": 1, "a": [True]}) == '{"a": [true], "b": 1}'
