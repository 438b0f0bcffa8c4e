"""Attempts: each leaves one row, whatever became of it."""

import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.stores import releases as module
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHAMPION, Registry
from mlops_assets.stores.releases import Releases
from mlops_assets_tests.stores.conftest import MakeVersion

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
# Attempts of a process of its own; it says when it is ready, and starts when it is told to.
RACER = """
import sys
from mlops_assets_tests.stores.test_release_log import race
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import Registry
from mlops_assets.stores.releases import Releases
from pathlib import Path
uri, lake, locks, model, expected, name, *versions = sys.argv[1:]
releases = Releases(Registry(uri), Lake(lake), Path(locks))
releases.registry.alias(model, "champion")
print("ready", flush=True)
sys.stdin.readline()
race(releases, model, versions, expected, name)
"""


@pytest.fixture
def releases(registry: Registry, tmp_path: Path) -> Releases:
    return Releases(registry, Lake(str(tmp_path / "lake")), tmp_path / "locks")


def release(releases: Releases, model: str, version: str, champion: str | None, **more: Any) -> Any:
    cause = {"actor": "loop", "reason": "drift", "at": NOW, "loop_time": NOW}
    return releases.release(model, version, expected_champion=champion, **{**cause, **more})


def race(
    releases: Releases, model: str, versions: list[str], expected: str, name: str, each: int = 5
) -> None:
    """One thread per version, each trying `each` times to release it over the same champion."""
    barrier = threading.Barrier(len(versions))

    def run(version: str) -> None:
        barrier.wait()
        for number in range(each):
            try:
                release(releases, model, version, expected, actor=f"{name} {version} {number}")
            except ReleaseError:
                continue

    with ThreadPoolExecutor(len(versions)) as pool:
        list(pool.map(run, versions))


def test_of_a_hundred_racing_promotions_one_wins_and_each_leaves_one_row(
    releases: Releases, registry: Registry, model: str, make_version: MakeVersion, tmp_path: Path
):
    first, *others = (make_version() for _ in range(21))
    release(releases, model, first, None)
    places = [registry.uri, releases.lake.root, str(releases.locks)]
    # Ten threads here, and five in each of two other processes; five attempts each.
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, *places, model, first, f"process {k}", *others[k::4]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in (0, 1)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
        racer.stdout.close()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.close()
    race(releases, model, [*others[2::4], *others[3::4]], first, "here")
    assert [racer.wait(60) for racer in racers] == [0, 0]
    attempts = [one for one in releases.attempts(model) if one.expected_champion == first]
    assert len(attempts) == 100
    assert len({one.id for one in attempts}) == len({one.actor for one in attempts}) == 100
    (won,) = [one for one in attempts if one.outcome == "won"]
    assert [one.id for one in releases.history(model)][1:] == [won.release]
    champion = registry.alias(model, CHAMPION)
    assert champion is not None
    assert champion.version == won.version
    # Who won and tried again found the work done; all others were told why they lost.
    assert {one.outcome for one in attempts if one.version == won.version} <= {"won", "repeated"}
    lost = [one for one in attempts if one.version != won.version]
    assert Counter(one.outcome for one in lost) == {"lost": 95}
    assert all(f"the champion is {won.version}, not {first}" in one.why for one in lost)


def outcomes(releases: Releases, model: str) -> list[tuple[str, str, str]]:
    return [(one.actor, one.version, one.outcome) for one in releases.attempts(model)]


def test_attempts_say_what_became_of_them_and_why(
    releases: Releases, model: str, make_version: MakeVersion
):
    first, second, bad = make_version(), make_version(), make_version(gates="failed")
    release(releases, model, first, None, actor="a")
    release(releases, model, first, None, actor="b")
    for actor, version, champion in (("c", second, None), ("d", bad, first), ("e", "99", first)):
        with pytest.raises(ReleaseError):
            release(releases, model, version, champion, actor=actor)
    cause = {"reason": "worse", "at": NOW, "loop_time": NOW}
    with pytest.raises(ReleaseError):
        releases.rollback(model, actor="f", **cause)
    release(releases, model, second, first, actor="g")
    releases.rollback(model, actor="h", **cause)
    found = {one.actor: one for one in releases.attempts(model)}
    assert {actor: (one.kind, one.version, one.outcome) for actor, one in found.items()} == {
        "a": ("release", first, "won"),
        "b": ("release", first, "repeated"),
        "c": ("release", second, "lost"),
        "d": ("release", bad, "lost"),
        "e": ("release", "99", "lost"),
        "f": ("rollback", "", "lost"),
        "g": ("release", second, "won"),
        "h": ("rollback", first, "won"),
    }
    assert len(releases.attempts(model)) == 8
    history = {record.id for record in releases.history(model)}
    assert {found[actor].release for actor in "abgh"} == history
    assert "another release came first" in found["c"].why
    assert "has not passed its gates" in found["d"].why
    assert "no version '99'" in found["e"].why
    assert "no previous champion" in found["f"].why
    assert found["a"].at == NOW.isoformat()


def test_an_attempt_that_never_got_the_lock_is_lost(
    releases: Releases, model: str, make_version: MakeVersion, monkeypatch: pytest.MonkeyPatch
):
    version = make_version()
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    releases.locks.mkdir()
    with FileLock(releases.locks / f"release-{model}.lock"), pytest.raises(ReleaseError):
        release(releases, model, version, None)
    (attempt,) = releases.attempts(model)
    assert (attempt.outcome, "has held its lock" in attempt.why) == ("lost", True)


class Breaking(Registry):
    """A registry that goes away before so many changes."""

    changes_left = 0

    def set_alias(self, model: str, alias: str, version: str) -> None:
        self._change()
        super().set_alias(model, alias, version)

    def set_tags(self, model: str, version: str, tags: Any) -> None:
        self._change()
        super().set_tags(model, version, tags)

    def version(self, model: str, version: str) -> Any:
        if self.changes_left < 0:
            raise ConnectionError("the registry is away")
        return super().version(model, version)

    def _change(self) -> None:
        if self.changes_left == 0:
            raise ConnectionError("the registry is away")
        self.changes_left -= 1


def test_an_attempt_that_the_registry_let_down_is_failed(
    releases: Releases, model: str, make_version: MakeVersion
):
    version = make_version()
    away = Breaking(releases.registry.uri)
    away.changes_left = -1
    with pytest.raises(ConnectionError):
        release(replace(releases, registry=away), model, version, None)
    (attempt,) = releases.attempts(model)
    assert (attempt.outcome, "the registry is away" in attempt.why) == ("failed", True)


@pytest.mark.parametrize("changes", [0, 1])
def test_an_attempt_that_was_begun_and_is_finished_by_the_next_one_has_won(
    changes: int, releases: Releases, model: str, make_version: MakeVersion
):
    first, second = make_version(), make_version()
    away = Breaking(releases.registry.uri)
    away.changes_left = changes
    with pytest.raises(ConnectionError):
        release(replace(releases, registry=away), model, first, None, actor="a")
    assert releases.attempts(model) == []
    with pytest.raises(ReleaseError):
        release(releases, model, second, None, actor="b")
    assert sorted(outcomes(releases, model)) == [("a", first, "won"), ("b", second, "lost")]
