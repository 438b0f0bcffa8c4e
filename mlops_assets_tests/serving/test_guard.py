import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.guard import Limits
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.incidents import Finding
from mlops_assets_tests.waiting import eventually
from serving.guard import Control, Guard
from serving.stats import Stats


class Hand(Control):
    """Notes what it is asked to take back; can be out of reach, or refuse."""

    def __init__(self) -> None:
        self.rolled_back: list[tuple[str, str, str]] = []
        self.withdrawn: list[tuple[str, str]] = []
        self.findings: list[Finding] = []
        self.error: Exception | None = None
        self.asked = 0

    def roll_back(self, model: str, version: str, target: str, finding: Finding) -> None:
        self._answer(finding)
        self.rolled_back.append((model, version, target))

    def withdraw(self, model: str, version: str, finding: Finding) -> None:
        self._answer(finding)
        self.withdrawn.append((model, version))

    def _answer(self, finding: Finding) -> None:
        self.asked += 1
        if self.error:
            raise self.error
        self.findings.append(finding)


class Node:
    """A node's files: the pointer, and one replica that counts."""

    def __init__(self, root: Path) -> None:
        self.pointer, self.folder = root / "state.json", root / "stats"
        self.folder.mkdir()
        self.hand = Hand()
        self.published = 0
        self.now = 1000.0
        self.stats = Stats(self.folder)
        self.guard = self.new_guard()

    def new_guard(self) -> Guard:
        return Guard(
            self.hand,
            self.pointer,
            self.folder,
            limits=lambda model: Limits(latency_after=5.0),
            publish=self._publish,
            clock=lambda: self.now,
        )

    def _publish(self) -> None:
        self.published += 1

    def serve(self, version: str, fallback: str = "", split: str = "", since: str = "") -> None:
        entry: dict[str, Any] = {"version": version, "path": version, "since": since or version}
        entry["released_at"] = ""
        if fallback:
            entry["fallback"] = {"version": fallback, "path": fallback}
        if split:
            entry["split"] = [{"variant": "c", "version": split, "path": split, "weight": 10.0}]
        state = {"generation": 1, "models": {"m": entry}}
        write_atomically(self.pointer, json.dumps(state).encode())

    def count(self, version: str, good: int = 0, bad: int = 0, seconds: float = 0.002) -> None:
        counts = self.stats.version("m", version)
        for number in range(good):
            counts.answered([[number % 7 / 7]], seconds)
        counts.requests += bad
        counts.exceptions += bad
        self.stats.write()

    def look(self, seconds: float = 1.0) -> list[str]:
        self.now += seconds
        return [f"{trial.version} {verdict.kinds[0]}" for trial, verdict in self.guard.step()]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_bad_release_is_rolled_back_to_its_fallback_and_published_once(node: Node):
    node.serve("1")
    node.count("1", good=1000)
    assert node.look() == []
    node.serve("2", fallback="1")
    node.count("2", bad=4)
    assert node.look() == []
    node.count("2", bad=1)
    assert node.look() == ["2 errors"]
    assert node.hand.rolled_back == [("m", "2", "1")]
    assert node.published == 1
    (finding,) = node.hand.findings
    assert "5 of 5 requests raised an error" in finding.reasons[0]
    assert finding.evidence["exceptions"] == 5
    # Until the pointer has changed the verdict stands, and nothing is done twice.
    assert node.look() == []
    assert node.hand.asked == 1


def test_failures_before_the_guard_saw_the_release_count(node: Node):
    node.serve("1")
    node.look()
    node.serve("2", fallback="1")
    node.count("2", bad=5)
    assert node.look() == ["2 errors"]


def test_what_a_version_did_in_an_earlier_life_does_not_count(node: Node):
    node.serve("2")
    node.count("2", bad=50)
    node.look()
    node.serve("1")
    node.look()
    # It was released again, with its fault corrected elsewhere.
    node.serve("2", fallback="1", since="later")
    node.count("2", good=20)
    assert node.look() == []
    # Nor does it for a guard that was started anew.
    node.guard = node.new_guard()
    assert node.look() == []


def test_a_version_that_served_well_and_then_fails_is_caught_by_its_last_minute(node: Node):
    node.serve("1")
    node.look()
    node.serve("2", fallback="1")
    node.count("2", good=5_000)
    node.look()
    for _ in range(70):
        assert node.look() == []
    # Less than the limit of one in a hundred since the release, but all of the last minute.
    node.count("2", bad=20)
    assert node.look() == ["2 errors"]


def test_a_champion_that_is_not_on_probation_is_left_alone(node: Node):
    node.serve("1")
    node.look()
    node.count("1", bad=50)
    assert node.look() == []
    assert node.hand.asked == 0


def test_a_bad_variant_leaves_the_split_and_the_champion_stays(node: Node):
    node.serve("1", split="2")
    node.look()
    node.count("1", good=100)
    node.count("2", bad=5)
    assert node.look() == ["2 errors"]
    assert node.hand.withdrawn == [("m", "2")]
    assert node.hand.rolled_back == []
    assert node.published == 1


def test_a_variant_is_compared_with_what_the_champion_does_meanwhile(node: Node):
    node.serve("1", split="2")
    node.look()
    for _ in range(10):
        node.count("1", good=200)
        node.count("2", good=40, seconds=0.3)
        found = node.look()
    assert found == []
    assert node.hand.findings[0].kind == "latency"


def test_a_slow_release_is_rolled_back(node: Node):
    node.serve("1")
    node.count("1", good=1000)
    node.look()
    node.serve("2", fallback="1")
    node.look()
    node.count("2", good=500, seconds=0.3)
    assert node.look() == []
    assert node.look(5) == ["2 latency"]


def test_a_registry_that_is_away_is_asked_again_and_told_once(
    node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("serving.bundle_cache.LONGEST_PAUSE", 0.0)
    monkeypatch.setattr("serving.guard.Trouble.failed", _counted)
    node.serve("1")
    node.look()
    node.serve("2", fallback="1")
    node.count("2", bad=5)
    node.hand.error = ConnectionError("no route")
    caplog.set_level(logging.WARNING)
    for _ in range(8):
        assert node.look() == []
    assert node.hand.asked == 8
    assert node.published == 0
    assert len([m for m in caplog.messages if "is tried again: no route" in m]) == 1
    node.hand.error = None
    assert node.look() == ["2 errors"]
    assert node.published == 1


def test_a_refusal_is_not_asked_for_again_and_again(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.guard.Trouble.failed", _counted)
    node.serve("1")
    node.look()
    node.serve("2", fallback="1")
    node.count("2", bad=5)
    node.hand.error = ReleaseError("version 1 is quarantined")
    for _ in range(20):
        node.look()
    assert node.hand.asked == 5


def _counted(self: Any, every: float) -> float:
    self.failures += 1
    return 0.0


def test_what_the_guard_cannot_read_does_not_end_it(node: Node, caplog: pytest.LogCaptureFixture):
    def told() -> int:
        return len([m for m in caplog.messages if "The guard cannot look" in m])

    node.serve("1")
    stop = threading.Event()
    thread = threading.Thread(target=node.guard.run, args=(stop, 0.005))
    thread.start()
    node.pointer.write_text("{")
    eventually(told)
    time.sleep(0.1)  # some more looks, of which nothing new is told
    assert told() == 1
    node.serve("2", fallback="1")
    time.sleep(0.1)
    node.count("2", bad=5)
    eventually(lambda: node.hand.rolled_back)
    stop.set()
    thread.join()
    assert node.hand.rolled_back == [("m", "2", "1")]


def test_a_node_without_any_files_has_nothing_to_guard(tmp_path: Path):
    assert Guard(Hand(), tmp_path / "state.json", tmp_path / "stats").step() == []
