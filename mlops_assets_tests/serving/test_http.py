import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.serving import model as trees
from benchmarks.serving.apps.columns import CATEGORIES, NUMBERS
from mlops_assets.domain.contract import HistoryRule
from mlops_assets.stores.bundles import write_manifest
from mlops_assets.stores.prediction_log import read_from, segments
from mlops_assets_tests.serving.conftest import CONTRACT, Built, frame, publish, records
from serving import http
from serving.auth import Tokens
from serving.http import MAX_BODY_BYTES, PredictionService
from serving.models import ModelSet

PATH = "/v1/models/flight_delay/predict"


@pytest.fixture(scope="module")
def served(
    bundles: dict[str, Built], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PredictionService, Path]]:
    home = tmp_path_factory.mktemp("home")
    publish(
        home / "state.json",
        flight_delay=("1", bundles["1"].folder),
        demand=("7", bundles["demand"].folder),
        missing=("1", home / "nothing"),
    )
    models = ModelSet(home / "state.json")
    models.refresh()
    service = PredictionService(models, home / "log")
    yield service, home / "log"
    service.close()


def ask(
    served: tuple[PredictionService, Path], body: Any, path: str = PATH, method: str = "POST"
) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = served[0].handle(method, path, {}, raw)
    return answer.status, json.loads(answer.body)


def test_predictions_equal_the_pipeline(
    served: tuple[PredictionService, Path], bundles: dict[str, Built]
):
    rows = records(50, seed=5)
    status, body = ask(served, {"request_id": "r", "records": rows})
    assert status == 200
    assert (body["model"], body["version"], body["request_id"]) == ("flight_delay", "1", "r")
    expected = bundles["1"].pipeline.predict_proba(frame(rows, CONTRACT))
    got = np.array([list(p["probability"].values()) for p in body["predictions"]])
    assert np.abs(got - expected).max() < 1e-5
    for prediction, probabilities in zip(body["predictions"], got, strict=True):
        assert prediction["prediction"] == CONTRACT.classes[int(probabilities.argmax())]
    assert len({p["prediction_id"] for p in body["predictions"]}) == 50


def test_a_regression_answers_with_a_value(served: tuple[PredictionService, Path]):
    status, body = ask(served, {"records": [{"hour": 12}]}, "/v1/models/demand/predict")
    assert status == 200
    assert body["version"] == "7"
    assert isinstance(body["predictions"][0]["prediction"], float)
    assert "probability" not in body["predictions"][0]


def test_every_answer_is_in_the_log_before_it_leaves(served: tuple[PredictionService, Path]):
    rows = [{**row, "flight": f"F{i}"} for i, row in enumerate(records(3, seed=6))]
    rows[1]["departs"] = "2013-06-01T12:00:00Z"
    _, body = ask(served, {"records": rows})
    (path,) = segments(served[1] / "flight_delay")
    last = read_from(path, 0)[0][-1]
    assert last.ids == [p["prediction_id"] for p in body["predictions"]]
    assert last.request_id == body["request_id"]
    assert last.entities == ["F0", "F1", "F2"]
    assert last.event_times == [None, "2013-06-01T12:00:00+00:00", None]
    assert last.features["distance"] == [row["distance"] for row in rows]
    assert last.features["seats"] == [row["seats"] for row in rows]
    assert last.outputs == [list(p["probability"].values()) for p in body["predictions"]]
    assert (last.version, last.variant) == ("1", "champion")


def test_a_refused_request_leaves_no_trace_in_the_log(bundles: dict[str, Built], tmp_path: Path):
    publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    service = PredictionService(models, tmp_path / "log")
    assert service.handle("POST", PATH, {}, b'{"records": [{}]}').status == 422
    assert not (tmp_path / "log").exists()


GOOD = records(1, seed=3)[0]
SECRET = "s3cret-0123456789"


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ('{"distance": 1e999, "carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": NaN, "carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": 1, "carrier": "AA", "weekend": -Infinity}', "weekend"),
        ('{"distance": "far", "carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": null, "carrier": "AA", "weekend": true}', "distance"),
        ('{"carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": 1, "carrier": "AA", "weekend": true, "x": 1}', "x"),
        ('{"distance": 1, "carrier": 3, "weekend": true}', "carrier"),
        ('{"distance": 1, "carrier": "AA", "weekend": 3}', "weekend"),
        ('{"distance": 1, "carrier": "AA", "weekend": true, "seats": 1.5}', "seats"),
    ],
)
def test_a_broken_contract_is_422_with_the_field(
    served: tuple[PredictionService, Path], record: str, field: str
):
    status, body = ask(served, f'{{"records": [{json.dumps(GOOD)}, {record}]}}'.encode())
    assert status == 422
    assert body["error"]["field"] == f"records[1].{field}"


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (400, "POST", PATH, b"{"),
        (400, "POST", PATH, b"[" * 100_000),
        (400, "POST", PATH, b'{"records": [{"distance": NaN}'),
        (400, "POST", PATH, b'{"records": [{"seats": 1, "seats": 2}]}'),
        (422, "POST", PATH, b"[]"),
        (413, "POST", PATH, json.dumps({"records": [GOOD] * 101}).encode()),
        (413, "POST", PATH, b" " * (MAX_BODY_BYTES + 1)),
        (404, "POST", "/v1/models/none/predict", b"{}"),
        (404, "POST", "/v1/models/../predict", b"{}"),
        (404, "GET", "/", b""),
        (404, "GET", "/v1/models/flight_delay", b""),
        (405, "GET", PATH, b""),
        (405, "POST", "/health", b""),
        (405, "DELETE", "/openapi.json", b""),
        (503, "POST", "/v1/models/missing/predict", b"{}"),
        (503, "GET", "/v2/models/missing", b""),
        (503, "GET", "/v2/models/missing/ready", b""),
        (404, "GET", "/v2/models/flight_delay/versions/9", b""),
        (404, "GET", "/v2/models/flight_delay/versions/9/ready", b""),
        (404, "POST", "/v2/models/flight_delay/versions/9/infer", b"{}"),
    ],
)
def test_other_refusals_have_their_status(
    served: tuple[PredictionService, Path], status: int, method: str, path: str, body: bytes
):
    assert ask(served, body, path, method)[0] == status


@pytest.mark.parametrize(
    "path", [PATH, "/v2/models/flight_delay/infer", "/models/flight_delay/invocations"]
)
def test_a_compressed_body_is_told_to_be_one(served: tuple[PredictionService, Path], path: str):
    body = gzip.compress(json.dumps({"records": [GOOD]}).encode())
    answer = served[0].handle("POST", path, {"content-encoding": "gzip"}, body)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")
    assert b"content-encoding" in answer.body
    plain = served[0].handle("POST", PATH, {"content-encoding": "identity"}, b"{")
    assert plain.status == 400


TREES = f"/v1/models/{trees.NAME}/predict"
LOOKED_UP = HistoryRule(
    name=NUMBERS[0],
    key=CATEGORIES[0],
    aggregate="count",
    column="",
    window_seconds=3600.0,
    every="daily",
    until="period",
)
LONG = json.dumps({"records": [GOOD]}).encode() + b" " * http.QUICK_BYTES


@pytest.fixture
def slow(
    bundles: dict[str, Built], tmp_path: Path
) -> Iterator[tuple[PredictionService, threading.Event]]:
    """A service whose long requests begin when the event is set."""
    publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    service, go = PredictionService(models, tmp_path / "log"), threading.Event()
    service._bulk.submit(go.wait)
    # Long requests wait so that short ones need not, and there are some.
    assert asyncio.run(service.answer("POST", PATH, {}, b"{}")).status == 422
    yield service, go
    go.set()
    service.close()


def test_a_long_request_that_waits_too_long_is_told_so_and_leaves_no_prediction(
    slow: tuple[PredictionService, threading.Event],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    service, go = slow
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
    answer = asyncio.run(service.answer("POST", PATH, {}, LONG))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    go.set()
    # After what waits: nobody waits for the answer any more, so it must not have been made.
    service._bulk.submit(lambda: None).result()
    assert not (tmp_path / "log").exists()
    monkeypatch.setattr(http, "REQUEST_SECONDS", 30)
    assert asyncio.run(service.answer("POST", PATH, {}, LONG)).status == 200


@pytest.mark.parametrize(
    ("path", "body", "quiet", "history", "is_at_once"),
    [
        (TREES, {}, 0.0, (), True),
        (TREES, {}, 60.0, (), False),
        (f"/models/{trees.NAME}/invocations", {}, 0.0, (), False),
        (PATH, {"records": [GOOD]}, 0.0, (), False),
        (TREES, {}, 0.0, (LOOKED_UP,), False),
    ],
    ids=["alone", "beside a short one", "a slower parser", "a slower model", "looked up"],
)
def test_long_requests_are_answered_at_once_where_they_keep_nobody_waiting(
    bundles: dict[str, Built],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: dict[str, Any],
    quiet: float,
    history: tuple[HistoryRule, ...],
    is_at_once: bool,
):
    monkeypatch.setattr(http, "QUIET_SECONDS", quiet)
    built = trees.build("boosting", tmp_path / "trees")
    contract = replace(built.contract, history=history)
    (built.bundle / "contract.json").write_bytes(contract.to_json())
    write_manifest(built.bundle, "onnx", {})
    publish(
        tmp_path / "state.json",
        flight_delay=("1", bundles["1"].folder),
        **{trees.NAME: ("1", built.bundle)},
    )
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    service, go = PredictionService(models, tmp_path / "log"), threading.Event()
    rows = trees.draw(300, seed=1)
    content = {"columns": rows} if path.endswith("predict") else {"inputs": rows}
    raw = json.dumps(body or content).encode() + b" " * http.QUICK_BYTES

    async def ask_while_the_thread_is_busy() -> bool:
        await service.answer("POST", path, {}, b"{}")
        service._bulk.submit(go.wait)
        asked = asyncio.create_task(service.answer("POST", path, {}, raw))
        await asyncio.sleep(0.05)
        was_answered = asked.done()
        go.set()
        assert (await asked).status == 200
        return was_answered

    try:
        assert asyncio.run(ask_while_the_thread_is_busy()) == is_at_once
    finally:
        go.set()
        service.close()


def test_more_long_requests_than_may_wait_are_refused_and_short_ones_are_not(
    slow: tuple[PredictionService, threading.Event], monkeypatch: pytest.MonkeyPatch
):
    service, go = slow
    monkeypatch.setattr(http, "MAX_WAITING", 3)

    async def ask_all() -> tuple[list[int], int]:
        waiting = [asyncio.create_task(service.answer("POST", PATH, {}, LONG)) for _ in range(5)]
        await asyncio.sleep(0)
        short = await service.answer("POST", PATH, {}, LONG.strip())
        go.set()
        answers = await asyncio.gather(*waiting)
        assert {a.headers.get("retry-after") for a in answers if a.status == 503} == {"1"}
        return [answer.status for answer in answers], short.status

    assert asyncio.run(ask_all()) == ([200, 200, 200, 503, 503], 200)


def test_health_tells_versions_and_what_is_wrong(served: tuple[PredictionService, Path]):
    status, health = ask(served, b"", "/health", "GET")
    assert status == 200
    assert health["status"] == "degraded"
    assert health["models"]["flight_delay"] == {
        "loaded": True,
        "version": "1",
        "since": "2026-01-01T00:00:00+00:00",
        "released_at": "",
    }
    assert health["models"]["missing"]["loaded"] is False
    assert "does not exist" in health["reason"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/demand/predict"),
        ("POST", "/v2/models/demand/infer"),
        ("GET", "/v2/models/demand"),
        ("POST", "/models/demand/invocations"),
    ],
)
def test_a_retired_model_is_gone_in_every_protocol(
    bundles: dict[str, Built], tmp_path: Path, method: str, path: str
):
    pointer = tmp_path / "state.json"
    publish(pointer, flight_delay=("1", bundles["1"].folder))
    content = json.loads(pointer.read_text())
    pointer.write_text(json.dumps({**content, "retired": {"demand": "2026-11-26T08:00:00+00:00"}}))
    models = ModelSet(pointer)
    models.refresh()
    service = PredictionService(models, tmp_path / "log")
    try:
        status, body = ask((service, tmp_path), b"{}", path, method)
        assert status == 410
        assert "the model was retired on 2026-11-26 and is served no more" in str(body["error"])
        status, health = ask((service, tmp_path), b"", "/health", "GET")
        assert health["status"] == "ok"
        assert health["retired"] == {"demand": "2026-11-26T08:00:00+00:00"}
    finally:
        service.close()


class FollowedMeanwhile(ModelSet):
    """The thread that follows the pointer is always a little quicker than who asks for it."""

    def refresh(self) -> bool:
        super().refresh()
        return super().refresh()


def test_a_model_that_was_just_released_is_served_also_if_another_thread_has_read_of_it(
    bundles: dict[str, Built], tmp_path: Path
):
    models = FollowedMeanwhile(tmp_path / "state.json")
    service = PredictionService(models, tmp_path / "log")
    body = json.dumps({"records": [GOOD]}).encode()
    try:
        assert ask((service, tmp_path), body)[0] == 404
        publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
        assert ask((service, tmp_path), body)[0] == 200
    finally:
        service.close()


def test_a_token_is_needed_everywhere_but_for_health(bundles: dict[str, Built], tmp_path: Path):
    publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    tokens = tmp_path / "tokens"
    tokens.write_text(SECRET)
    tokens.chmod(0o600)
    service = PredictionService(models, tmp_path / "log", Tokens(tokens))
    body = json.dumps({"records": [GOOD]}).encode()
    for sent in ("", SECRET, "Bearer wrong", f"Bearer {SECRET[:-1]}é", f"bearer {SECRET}"):
        answer = service.handle("POST", PATH, {"authorization": sent}, body)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert service.handle("GET", "/openapi.json", {}, b"").status == 401
    assert service.handle("GET", "/nowhere", {}, b"").status == 401
    assert service.handle("GET", "/health", {}, b"").status == 200
    page = {"authorization": f"Bearer {SECRET}", "origin": "https://dashboard.example"}
    assert service.handle("POST", PATH, page, body).status == 200
    service.close()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:8000", "null"])
def test_without_tokens_no_web_page_may_ask(served: tuple[PredictionService, Path], origin: str):
    headers = {"origin": origin, "content-type": "text/plain"}
    before = sum(path.stat().st_size for path in segments(served[1] / "flight_delay"))
    answer = served[0].handle("POST", PATH, headers, json.dumps({"records": [GOOD]}).encode())
    assert (answer.status, json.loads(answer.body)["error"]["field"]) == (403, "origin")
    assert sum(path.stat().st_size for path in segments(served[1] / "flight_delay")) == before
    assert served[0].handle("GET", "/health", headers, b"").status == 200


def test_requests_from_many_threads_are_all_logged_once(bundles: dict[str, Built], tmp_path: Path):
    publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    service = PredictionService(models, tmp_path / "log")
    body = json.dumps({"records": [GOOD]}).encode()
    threads = [
        threading.Thread(target=lambda: [service.handle("POST", PATH, {}, body) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    service.close()
    (path,) = segments(tmp_path / "log" / "flight_delay")
    ids = [record.ids[0] for record in read_from(path, 0)[0]]
    assert len(ids) == len(set(ids)) == 200


VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["AA", "__missing__", 1e308, -1e308, 5e-324, 2**53, 10**400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
NAME = st.sampled_from(["distance", "seats", "carrier", "weekend", "flight", "departs", "x"])
REQUEST = st.fixed_dictionaries(
    {"records": st.lists(st.dictionaries(NAME, VALUE), max_size=12) | VALUE},
    optional={"request_id": VALUE, "other": VALUE},
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=REQUEST.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=60),
    good=st.booleans(),
)
def test_no_body_whatever_gives_a_server_error(
    served: tuple[PredictionService, Path], body: bytes, good: bool
):
    status, answer = ask(served, body)
    assert status in (200, 400, 413, 422)
    if status != 200:
        assert answer["error"]["field"]
        assert len(json.dumps(answer)) < 2000


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=st.dictionaries(NAME, VALUE, max_size=2))
def test_no_change_of_a_good_record_gives_a_server_error(
    served: tuple[PredictionService, Path], change: dict[str, Any]
):
    assert ask(served, {"records": [{**GOOD, **change}]})[0] in (200, 400, 422)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "POST", "PUT", "HEAD", ""]), path=st.text())
def test_no_path_gives_a_server_error(
    served: tuple[PredictionService, Path], method: str, path: str
):
    answer = served[0].handle(method, path, {}, b"{}")
    assert answer.status < 500


def test_the_same_id_for_the_same_records_in_another_form_is_another_request(
    served: tuple[PredictionService, Path],
):
    body = json.dumps({"request_id": "form-1", "records": [GOOD]}).encode()
    arrow = {"accept": "application/vnd.apache.arrow.stream"}
    first = served[0].handle("POST", PATH, {}, body)
    assert first.status == 200
    assert served[0].handle("POST", PATH, {}, body) == first
    assert served[0].handle("POST", PATH, arrow, body).status == 409


def test_an_answer_in_arrow_may_be_asked_for_one_record_too(
    served: tuple[PredictionService, Path],
):
    arrow = {"accept": "application/vnd.apache.arrow.stream"}
    answer = served[0].handle("POST", PATH, arrow, json.dumps({"records": [GOOD]}).encode())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
