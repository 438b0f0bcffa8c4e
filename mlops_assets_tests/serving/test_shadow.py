"""The queue behind the answers; what the shadow logs and counts is in test_predictor."""

import threading
import time

import pytest

from mlops_assets.stores.prediction_log import LoggedRequest
from mlops_assets_tests.serving.conftest import Built, records
from serving import shadow as module
from serving.answers import Refusal
from serving.loading import LoadedModel, load
from serving.pointer import Bundle
from serving.shadow import Shadow
from serving.stats import Stats


@pytest.fixture
def version(bundles: dict[str, Built]) -> LoadedModel:
    return load(Bundle("2", str(bundles["2"].folder)))


def answered(stem: str, rows: int = 1) -> LoggedRequest:
    found = records(rows, seed=1)
    return LoggedRequest(
        request_id=stem,
        at="2026-01-01T12:00:00+00:00",
        version="1",
        variant="champion",
        latency_ms=0.5,
        ids=[f"{stem}-{row}" for row in range(rows)],
        entities=[None] * rows,
        event_times=[None] * rows,
        features={name: [one[name] for one in found] for name in found[0]},
        outputs=[[0.5, 0.5]] * rows,
    )


def test_what_many_threads_offer_is_scored_once(version: LoadedModel):
    written: list[str] = []
    shadow = Shadow(lambda model, record: written.extend(record.ids), Stats())

    def offer(worker: int) -> None:
        for number in range(100):
            shadow.offer("m", version, answered(f"{worker}.{number}", rows=number % 3 + 1))

    threads = [threading.Thread(target=offer, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    names = [thread.name for thread in threading.enumerate()]
    for thread in threads:
        thread.join()
    shadow.stop()
    assert names.count("shadow") <= 1
    assert len(written) == len(set(written)) == 4 * sum(n % 3 + 1 for n in range(100))


def test_rows_above_the_limit_are_left_out_and_counted(
    version: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60.0)
    written: list[str] = []
    stats = Stats()
    shadow = Shadow(lambda model, record: written.extend(record.ids), stats)
    for number in range(5):
        shadow.offer("m", version, answered(str(number), rows=6))
    shadow.stop()
    # It was not full before the second came, and is after it.
    assert len(written) == 12
    assert stats.snapshot()["models"]["m"]["shadow_dropped"] == 18


def test_large_requests_are_not_put_together_without_end(
    version: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_TOGETHER", 10)
    shadow = Shadow(lambda model, record: None, Stats())
    shadow._waiting.extend(("m", version, answered(str(n), rows=6)) for n in range(5))
    assert [len(shadow._take()[2]) for _ in range(3)] == [2, 2, 1]


def test_versions_and_models_are_not_mixed(version: LoadedModel, bundles: dict[str, Built]):
    other = load(Bundle("1", str(bundles["1"].folder)))
    shadow = Shadow(lambda model, record: None, Stats())
    asked = [("m", version), ("m", version), ("m", other), ("n", other), ("m", version)]
    shadow._waiting.extend((model, one, answered("s")) for model, one in asked)
    taken = [shadow._take() for _ in range(4)]
    assert [(model, one.version, len(batch)) for model, one, batch in taken] == [
        ("m", "2", 2),
        ("m", "1", 1),
        ("n", "1", 1),
        ("m", "2", 1),
    ]


def test_a_disk_that_is_full_is_not_the_versions_fault(version: LoadedModel):
    def refuse(model: str, record: LoggedRequest) -> None:
        raise Refusal(503, "server", "full")

    stats = Stats()
    shadow = Shadow(refuse, stats)
    shadow.offer("m", version, answered("s", rows=3))
    deadline = time.monotonic() + 10
    while not stats.snapshot()["models"] and time.monotonic() < deadline:
        time.sleep(0.01)
    shadow.stop()
    assert stats.snapshot()["models"] == {"m": {"versions": {}, "shadow_dropped": 3}}
