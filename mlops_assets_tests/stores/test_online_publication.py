from pathlib import Path

import pytest

from mlops_assets.spec import Model
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.online import OnlineStore
from mlops_assets.stores.online_publication import publish, with_rules_of_versions
from mlops_assets_tests.loop import utc
from mlops_assets_tests.regulars import HISTORY, regular_model, validated_lake

DAYS = 8
PERIODS = tuple(f"2026-01-{day:02}" for day in range(1, DAYS + 1))
SECOND = 1_000_000


def model_of(history: object = HISTORY) -> Model:
    return regular_model(history=history)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return validated_lake(tmp_path_factory.mktemp("lake"), model_of(), DAYS)


@pytest.fixture
def store(tmp_path: Path) -> OnlineStore:
    return OnlineStore(f"sqlite:///{tmp_path}/history.db")


def test_what_windows_reach_is_published_and_two_periods_more(lake: Lake, store: OnlineStore):
    found = publish(model_of(), lake, store, PERIODS, utc("2026-01-09"))
    assert found is not None
    assert found.is_fresh
    state, histories = store.read("regulars", {"zone": ["near", "far", "abroad"]})
    assert state is not None
    assert state.until == utc("2026-01-09").timestamp() * SECOND
    # Windows of four days before the seventh.
    assert state.since == utc("2026-01-03").timestamp() * SECOND
    times = [time for one in histories.values() for time in one.times.tolist()]
    assert len(times) == 6 * 150
    assert state.since <= min(times) <= max(times) < state.until
    assert (
        len(times)
        + sum(
            len(one.times)
            for one in store.read("regulars", {"sender": map(str, range(40))})[1].values()
        )
        == found.events
    )


def test_only_periods_that_are_ready_and_over_are_published(lake: Lake, store: OnlineStore):
    late = publish(model_of(), lake, store, PERIODS[:3], utc("2026-01-05T12:00"))
    assert late is not None
    assert (late.until, late.due, late.is_fresh) == (utc("2026-01-04"), utc("2026-01-05"), False)
    assert publish(model_of(), lake, store, PERIODS[3:], utc("2026-01-04")) is None
    state = store.published("regulars")
    assert state is not None
    # Nothing is older than what is there.
    assert state.since is None


def test_publishing_again_changes_nothing(lake: Lake, store: OnlineStore):
    wanted = {"sender": [str(n) for n in range(40)], "zone": ["near"]}
    contents = []
    for _ in range(2):
        publish(model_of(), lake, store, PERIODS, utc("2026-01-09"))
        state, found = store.read("regulars", wanted)
        contents.append((state, {key: one.to_bytes() for key, one in found.items()}))
    assert contents[0] == contents[1]


def test_a_version_that_serves_on_finds_the_rules_that_it_was_trained_with(
    lake: Lake, store: OnlineStore, tmp_path: Path
):
    """Its contract names a longer window of another key; a column that never was is left out."""
    old = {"aggregate": "max", "column": "weight", "entity": "zone", "window": "6d"}
    gone = {"name": "gone", "aggregate": "max", "column": "height", "window": "9d"}
    spec = model_of([{"name": "old", **old}, gone]).spec
    for version in ("1", ".2.partial"):
        (tmp_path / "regulars" / version).mkdir(parents=True)
    contract = spec.contract("regulars", ("0", "1")).to_json()
    (tmp_path / "regulars" / "1" / "contract.json").write_bytes(contract)
    model = with_rules_of_versions(model_of(HISTORY[:1]), lake, tmp_path)
    assert [rule.name for rule in model.spec.history] == ["sent_before", "old"]
    publish(model, lake, store, PERIODS, utc("2026-01-09"))
    state, found = store.read("regulars", {"zone": ["near"]})
    assert state is not None
    assert state.since is None
    assert set(found["zone", "near"].values) == {"weight"}
    assert with_rules_of_versions(model, lake, tmp_path) == model
