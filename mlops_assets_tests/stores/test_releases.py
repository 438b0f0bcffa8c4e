import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.stores import releases as module
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHAMPION, PREVIOUS_CHAMPION, Registry
from mlops_assets.stores.releases import ReleaseRecord, Releases
from mlops_assets_tests.stores.conftest import MakeVersion

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """Ends a move as a kill would: nothing after it runs."""


class DyingRegistry(Registry):
    """A registry whose client is killed after so many changes."""

    changes_left = 99

    def _change(self) -> None:
        if self.changes_left == 0:
            raise Killed
        self.changes_left -= 1

    def set_alias(self, model: str, alias: str, version: str) -> None:
        self._change()
        super().set_alias(model, alias, version)

    def set_tags(self, model: str, version: str, tags: Any) -> None:
        self._change()
        super().set_tags(model, version, tags)


class DyingLake(Lake):
    """A lake that is never reached."""

    def append_once(self, *_: Any, **__: Any) -> bool:
        raise Killed


@pytest.fixture
def releases(registry: Registry, tmp_path: Path) -> Releases:
    return Releases(registry, Lake(str(tmp_path / "lake")), tmp_path / "locks")


def release(
    releases: Releases, model: str, version: str, champion: str | None, **more: Any
) -> ReleaseRecord:
    cause = {"actor": "loop", "reason": "drift", "at": NOW, "loop_time": NOW - timedelta(days=1)}
    return releases.release(model, version, expected_champion=champion, **{**cause, **more})


def rollback(releases: Releases, model: str, **more: Any) -> ReleaseRecord:
    cause = {"actor": "me", "reason": "worse", "at": NOW, "loop_time": NOW}
    return releases.rollback(model, **{**cause, **more})


def aliases(releases: Releases, model: str) -> tuple[str | None, str | None]:
    found = (releases.registry.alias(model, name) for name in (CHAMPION, PREVIOUS_CHAMPION))
    return tuple(version and version.version for version in found)  # type: ignore[return-value]


def moves(releases: Releases, model: str) -> list[tuple[str, str, str]]:
    return [(r.kind, r.from_version, r.to_version) for r in releases.history(model)]


def test_a_release_moves_the_champion_and_writes_who_when_why_and_on_what(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    assert aliases(releases, model) == (None, None)
    release(releases, model, first, None)
    assert aliases(releases, model) == (first, None)
    made = release(releases, model, second, first, run_id="run 7", evidence={"auc": 0.9})
    assert aliases(releases, model) == (second, first)
    assert releases.history(model)[-1] == made
    assert made == ReleaseRecord(
        id=made.id,
        number=1,
        kind="release",
        model=model,
        from_version=first,
        to_version=second,
        at=NOW.isoformat(),
        loop_time=(NOW - timedelta(days=1)).isoformat(),
        actor="loop",
        reason="drift",
        run_id="run 7",
        evidence='{"auc": 0.9}',
    )
    assert releases.registry.champions()[model].released_at == NOW.isoformat()
    assert made.evidence_values == {"auc": 0.9}


@pytest.mark.parametrize("gates", ["failed", ""])
def test_a_version_that_did_not_pass_its_gates_is_refused(
    gates: str, releases: Releases, model: str, make_version: MakeVersion
):
    with pytest.raises(ReleaseError, match=f"not passed its gates .*{gates or 'not judged'}"):
        release(releases, model, make_version(gates=gates), None)
    assert aliases(releases, model) == (None, None)
    assert releases.history(model) == []


def test_a_version_that_is_not_there_is_refused(releases: Releases, model: str):
    with pytest.raises(ReleaseError, match="no version '9'"):
        release(releases, model, "9", None)


def test_a_champion_that_came_first_is_not_overwritten(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second, third = (make_version() for _ in range(3))
    release(releases, model, first, None)
    release(releases, model, second, first)
    for expected in (first, None):
        with pytest.raises(ReleaseError, match=f"the champion is {second}, not"):
            release(releases, model, third, expected)
    assert aliases(releases, model) == (second, first)
    assert len(releases.history(model)) == 2


def test_the_same_release_again_changes_nothing(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    made = release(releases, model, second, first)
    for run in ("", "another run"):
        assert release(releases, model, second, first, at=NOW + timedelta(1), run_id=run) == made
    assert aliases(releases, model) == (second, first)
    assert len(releases.history(model)) == 2


def test_a_release_back_after_a_rollback_is_a_new_record(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    release(releases, model, second, first, run_id="a")
    rollback(releases, model)
    release(releases, model, second, first, run_id="b")
    assert aliases(releases, model) == (second, first)
    assert moves(releases, model) == [
        ("release", "", first),
        ("release", first, second),
        ("rollback", second, first),
        ("release", first, second),
    ]
    assert len({record.id for record in releases.history(model)}) == 4


def test_a_run_that_is_retried_after_a_rollback_does_not_release_again(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    made = release(releases, model, second, first, run_id="a")
    rollback(releases, model)
    assert release(releases, model, second, first, run_id="a") == made
    assert aliases(releases, model) == (first, second)
    assert len(releases.history(model)) == 3


def test_a_rollback_of_a_rollback_comes_back(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    release(releases, model, second, first)
    rollback(releases, model)
    assert aliases(releases, model) == (first, second)
    rollback(releases, model, at=NOW + timedelta(hours=1))
    assert aliases(releases, model) == (second, first)
    assert moves(releases, model)[2:] == [("rollback", second, first), ("rollback", first, second)]


@pytest.mark.parametrize("same", ["run_id", "expected_champion"])
def test_a_rollback_that_is_run_again_rolls_back_once(
    same: str, releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    release(releases, model, second, first)
    again = {same: "run 9" if same == "run_id" else second}
    assert rollback(releases, model, **again) == rollback(releases, model, **again)
    assert aliases(releases, model) == (first, second)
    assert len(releases.history(model)) == 3


def test_a_rollback_needs_a_champion_before_this_one(
    releases: Releases, model: str, make_version: MakeVersion
):
    with pytest.raises(ReleaseError, match="no previous champion to roll back to"):
        rollback(releases, model)
    release(releases, model, make_version(), None)
    with pytest.raises(ReleaseError, match="no previous champion to roll back to"):
        rollback(releases, model)
    assert len(releases.history(model)) == 1


def test_a_rollback_of_a_champion_that_is_gone_is_refused(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second, third = (make_version() for _ in range(3))
    release(releases, model, first, None)
    release(releases, model, second, first)
    release(releases, model, third, second)
    with pytest.raises(ReleaseError, match=f"the champion is {third}, not {first}"):
        rollback(releases, model, expected_champion=first)
    assert aliases(releases, model) == (third, second)


def test_records_keep_their_order_whatever_the_clock_says(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second, third = (make_version() for _ in range(3))
    release(releases, model, first, None)
    release(releases, model, second, first, at=NOW - timedelta(days=9))
    release(releases, model, third, second, at=NOW - timedelta(days=9))
    assert [record.to_version for record in releases.history(model)] == [first, second, third]
    assert [record.number for record in releases.history(model)] == [0, 1, 2]


def _killed(releases: Releases, changes: int | None) -> Releases:
    """The same releases, killed after so many registry changes, or before the record."""
    if changes is None:
        return replace(releases, lake=DyingLake(releases.lake.root))
    registry = DyingRegistry(releases.registry.uri)
    registry.changes_left = changes
    return replace(releases, registry=registry)


moments = pytest.mark.parametrize("changes", [0, 1, 2, None])


@moments
def test_a_release_killed_anywhere_and_run_again_gives_one_record(
    changes: int | None, releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    with pytest.raises(Killed):
        release(_killed(releases, changes), model, second, first, run_id="a")
    made = release(releases, model, second, first, run_id="a", at=NOW + timedelta(hours=1))
    assert made.at == NOW.isoformat()
    assert aliases(releases, model) == (second, first)
    assert moves(releases, model) == [("release", "", first), ("release", first, second)]
    assert releases.registry.champions()[model].released_at == made.at


@moments
def test_a_rollback_killed_anywhere_and_run_again_gives_one_record(
    changes: int | None, releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    release(releases, model, second, first)
    with pytest.raises(Killed):
        rollback(_killed(releases, changes), model)
    rollback(releases, model)
    assert aliases(releases, model) == (first, second)
    assert moves(releases, model)[2:] == [("rollback", second, first)]


@moments
def test_a_killed_release_that_nobody_runs_again_is_finished_by_the_next_move(
    changes: int | None, releases: Releases, model: str, make_version: MakeVersion
):
    first, second, third = (make_version() for _ in range(3))
    release(releases, model, first, None)
    with pytest.raises(Killed):
        release(_killed(releases, changes), model, second, first)
    with pytest.raises(ReleaseError, match=f"the champion is {second}, not {first}"):
        release(releases, model, third, first)
    rollback(releases, model)
    assert aliases(releases, model) == (first, second)
    assert moves(releases, model)[1:] == [("release", first, second), ("rollback", second, first)]


def test_a_killed_release_that_other_hands_overtook_is_dropped(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second, third, fourth = (make_version() for _ in range(4))
    release(releases, model, first, None)
    with pytest.raises(Killed):
        release(_killed(releases, 0), model, second, first)
    releases.registry.set_alias(model, CHAMPION, third)
    release(releases, model, fourth, third)
    assert aliases(releases, model) == (fourth, third)
    assert moves(releases, model)[1:] == [("release", third, fourth)]


def test_a_killed_record_write_that_was_committed_is_not_written_twice(
    releases: Releases, model: str, make_version: MakeVersion
):
    version = make_version()
    made = release(releases, model, version, None)
    # What a kill between the record and the removal of the note leaves.
    note = releases.locks / f"release-{model}.json"
    note.write_text(json.dumps({"record": made.__dict__, "attempt": None, "incident": None}))
    assert release(releases, model, version, None) == made
    assert len(releases.history(model)) == 1
    assert not note.exists()


def _together(count: int, act: Callable[[int], Any]) -> list[Any]:
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return act(number)
        except ReleaseError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_two_releases_at_once_one_wins_and_the_other_is_told(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, *others = (make_version() for _ in range(3))
    release(releases, model, first, None)
    results = _together(2, lambda number: release(releases, model, others[number], first))
    (won,) = [result for result in results if isinstance(result, ReleaseRecord)]
    (lost,) = [result for result in results if isinstance(result, ReleaseError)]
    assert "another release came first" in str(lost)
    assert aliases(releases, model) == (won.to_version, first)
    assert moves(releases, model)[1:] == [("release", first, won.to_version)]


def test_the_same_release_four_times_at_once_is_one(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    release(releases, model, first, None)
    results = _together(4, lambda _: release(releases, model, second, first))
    assert len(set(results)) == 1
    assert len(releases.history(model)) == 2


def test_a_lock_that_is_never_free_is_told(
    releases: Releases, model: str, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
):
    version = make_version()
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    releases.locks.mkdir()
    with (
        FileLock(releases.locks / f"release-{model}.lock"),
        pytest.raises(ReleaseError, match=r"another release has held its lock for 0\.1 s"),
    ):
        release(releases, model, version, None)
    release(releases, model, version, None)


def test_models_do_not_share_history(releases: Releases, model: str, make_version: MakeVersion):
    release(releases, model, make_version(), None)
    assert releases.history("another model") == []
