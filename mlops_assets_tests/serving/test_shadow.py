"""A shadow over what a real service has answered and logged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter, read_from, segments
from mlops_assets_tests.serving.conftest import Built, asked, bundle, records, state
from serving import shadow as module
from serving.http import PredictionService
from serving.models import ModelSet
from serving.shadow import Shadow
from serving.stats import Stats

MODEL = "flight_delay"
PATH = "/v1/models/flight_delay/predict"
BELOW = {"distance": -5.0, "seats": 1, "carrier": "AA", "weekend": True}


class Watched:
    """A service, and the shadow of its model."""

    def __init__(self, pointer: Path, log: Path) -> None:
        self.pointer, self.log = pointer, log
        self.models = ModelSet(self.pointer)
        self.service = PredictionService(self.models, self.log)
        self.stats = Stats()
        self.shadow = Shadow(self.pointer, self.log, self.stats)

    def close(self) -> None:
        self.service.close()
        self.shadow.close()

    def publish(self, **others: Any) -> None:
        state(self.pointer, flight_delay=asked("1", others.pop("champion"), **others))
        self.models.refresh()
        self.shadow.step()

    def ask(self, *rows: dict[str, Any], path: str = PATH) -> Any:
        answer = self.service.handle("POST", path, {}, json.dumps({"records": rows}).encode())
        assert answer.status == 200
        return json.loads(answer.body)

    def logged(self, variant: str) -> list[LoggedRequest]:
        return [
            record
            for path in segments(self.log / MODEL)
            for record in read_from(path, 0)[0]
            if record.variant == variant
        ]

    def counts(self, version: str = "2") -> dict[str, Any]:
        found: dict[str, Any] = self.stats.snapshot()["models"][MODEL]["versions"][version]
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path / "state.json", tmp_path / "log")
    yield watched
    watched.close()


def test_every_row_is_scored_as_the_version_would_answer_it(
    watched: Watched, bundles: dict[str, Built]
):
    one, two = bundles["1"].folder, bundles["2"].folder
    watched.publish(champion=one)
    watched.ask(*records(2, seed=7))
    watched.publish(champion=one, shadow=bundle("2", two))
    sent = [records(1, seed=8), records(3, seed=9), records(1, seed=10)]
    answers = [watched.ask(*rows) for rows in sent]
    assert watched.shadow.step() == 5
    assert watched.shadow.step() == 0
    watched.publish(champion=two)
    expected = [watched.ask(*rows)["predictions"] for rows in sent]
    found = watched.logged("shadow")
    # In the order in which they were answered, and nothing of before or after.
    assert [record.ids for record in found] == [
        [p["prediction_id"] for p in answer["predictions"]] for answer in answers
    ]
    assert [record.outputs for record in found] == [
        [list(p["probability"].values()) for p in predictions] for predictions in expected
    ]
    assert {record.version for record in found} == {"2"}
    champion = {record.ids[0]: record for record in watched.logged("champion")}
    assert all(record.features == champion[record.ids[0]].features for record in found)
    assert watched.counts()["shadow_rows"] == 5
    assert watched.shadow.step() == 0


def test_who_asked_for_a_version_is_not_watched(watched: Watched, bundles: dict[str, Built]):
    one, two = bundles["1"].folder, bundles["2"].folder
    watched.publish(champion=one, shadow=bundle("2", two), fallback=bundle("0", one))
    raw = {"inputs": [tensor(name, value) for name, value in BELOW.items()]}
    answer = watched.service.handle(
        "POST", f"/v2/models/{MODEL}/versions/0/infer", {}, json.dumps(raw).encode()
    )
    assert answer.status == 200
    assert watched.shadow.step() == 0


def tensor(name: str, value: Any) -> dict[str, Any]:
    kinds = {float: "FP64", int: "INT64", str: "BYTES", bool: "BOOL"}
    return {"name": name, "shape": [1], "datatype": kinds[type(value)], "data": [value]}


@pytest.mark.parametrize(("bad", "counted"), [("raises", "exceptions"), ("nan", "invalid_outputs")])
def test_a_shadow_that_fails_on_one_request_is_counted_and_scores_the_others(
    watched: Watched,
    bundles: dict[str, Built],
    bad_bundles: dict[str, Path],
    bad: str,
    counted: str,
):
    watched.publish(champion=bundles["1"].folder, shadow=bundle("2", bad_bundles[bad]))
    good = [watched.ask(*records(2, seed=seed)) for seed in range(3)]
    watched.ask(BELOW)
    watched.shadow.step()
    assert watched.counts()[counted] == 1
    assert [record.ids[0] for record in watched.logged("shadow")] == [
        answer["predictions"][0]["prediction_id"] for answer in good
    ]


def test_what_it_has_no_time_for_is_left_out_and_counted(
    watched: Watched, bundles: dict[str, Built], monkeypatch: pytest.MonkeyPatch
):
    watched.publish(champion=bundles["1"].folder, shadow=bundle("2", bundles["2"].folder))
    for seed in range(20):
        watched.ask(*records(1, seed=seed))
    size = next((watched.log / MODEL).iterdir()).stat().st_size
    monkeypatch.setattr(module, "MOST_BEHIND", size // 4)
    scored = watched.shadow.step()
    assert 2 <= scored <= 5
    dropped = watched.stats.snapshot()["models"][MODEL]["shadow_dropped"]
    assert scored + dropped == 20


def test_a_full_disk_is_not_the_versions_fault(
    watched: Watched, bundles: dict[str, Built], monkeypatch: pytest.MonkeyPatch
):
    watched.publish(champion=bundles["1"].folder, shadow=bundle("2", bundles["2"].folder))
    watched.ask(*records(1, seed=1))

    def full(self: SegmentWriter, lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "_write", full)
        watched.shadow.step()
    assert watched.stats.snapshot()["models"][MODEL]["shadow_dropped"] == 1
    assert watched.counts()["exceptions"] == 0
    watched.ask(*records(1, seed=2))
    watched.shadow.step()
    assert len(watched.logged("shadow")) == 1


def test_a_bundle_that_cannot_be_loaded_is_tried_again(
    watched: Watched, bundles: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    late = tmp_path / "late"
    state(
        watched.pointer,
        flight_delay=asked("1", bundles["1"].folder, shadow=bundle("2", late)),
    )
    watched.models.refresh()
    watched.shadow.step()
    late.symlink_to(bundles["2"].folder)
    watched.shadow.step()
    watched.ask(*records(1, seed=1))
    assert watched.shadow.step() == 1


def test_a_version_with_other_inputs_scores_nothing(watched: Watched, bundles: dict[str, Built]):
    other = bundle("2", bundles["demand"].folder)
    watched.publish(champion=bundles["1"].folder, shadow=other)
    watched.ask(*records(1, seed=1))
    assert watched.shadow.step() == 0


def test_large_requests_are_not_put_together_without_end():
    def answered(rows: int) -> LoggedRequest:
        ids = [str(row) for row in range(rows)]
        return LoggedRequest("r", "", "1", "champion", 0.1, ids, [], [], {}, [])

    sizes = [6, 600, 600, 4000, 1, 999, 1]
    batches = list(module._batches([answered(rows) for rows in sizes]))
    assert [[len(one.ids) for one in batch] for batch in batches] == [
        [6, 600],
        [600],
        [4000],
        [1, 999],
        [1],
    ]
