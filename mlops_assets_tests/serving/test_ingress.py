"""The application that stands in the replica's server: by itself, and in a real server."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.stores.tokens import rotate
from mlops_assets_tests.serving.conftest import Built, publish, records
from serving import ingress
from serving.answers import Refusal
from serving.auth import Tokens
from serving.http import MAX_BODY_BYTES, PredictionService
from serving.ingress import Ingress, Message, read_rest
from serving.models import ModelSet

PATH = "/v1/models/flight_delay/predict"
BODY = json.dumps({"records": records(1, seed=3)}).encode()


async def rays(scope: Message, receive: Any, send: Any) -> None:
    """An application in the place of Ray's."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


LEFT: Message = {"type": "http.disconnect"}


def ask(
    service: PredictionService,
    *messages: Message,
    path: str = PATH,
    headers: list[tuple[bytes, bytes]] | None = None,
    **scope: Any,
) -> list[Message]:
    """What the application sends for these messages; after the last one, nothing more comes."""
    waiting, sent = list(messages), []

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    whole = {"type": "http", "method": "POST", "path": path, "headers": headers or [], **scope}
    asyncio.run(Ingress(service, rays)(whole, receive, send))
    return sent


def status_of(sent: list[Message]) -> tuple[int, Any]:
    start, body = sent
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    return start["status"], json.loads(body["body"])


def test_a_body_in_one_part_or_in_many_is_the_same(service: PredictionService):
    one = status_of(ask(service, part(BODY)))
    parts = [part(bytes([byte]), more=True) for byte in BODY]
    many = status_of(ask(service, *parts, part(b"")))
    assert one[0] == many[0] == 200
    assert one[1]["predictions"][0]["probability"] == many[1]["predictions"][0]["probability"]


def test_a_body_above_the_limit_is_refused_before_it_is_read_to_its_end(
    service: PredictionService,
):
    large = part(b"x" * (MAX_BODY_BYTES // 2), more=True)
    sent = ask(service, large, large, part(b"x", more=True))
    assert status_of(sent)[0] == 413
    assert dict(sent[0]["headers"])[b"connection"] == b"close"
    assert status_of(ask(service, part(b"x" * (MAX_BODY_BYTES + 1))))[0] == 413


def test_a_body_that_does_not_arrive_is_408(
    service: PredictionService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ingress, "BODY_SECONDS", 0.05)
    sent = ask(service, part(b"{", more=True))
    status, body = status_of(sent)
    assert (status, body["error"]["field"]) == (408, "body")
    assert dict(sent[0]["headers"])[b"connection"] == b"close"


def test_what_anybody_may_ask_waits_for_no_body(service: PredictionService):
    status, health = status_of(ask(service, part(b"x", more=True), path="/health", method="GET"))
    assert (status, health["status"]) == (200, "ok")


def test_long_bodies_have_to_share_their_room(
    service: PredictionService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ingress, "MAX_HELD_BYTES", 2 * len(BODY))
    application = Ingress(service, rays)
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}

    async def request(rest: bytes, arrives: asyncio.Event) -> list[Message]:
        waiting, sent = [part(BODY, more=True), part(rest, more=True)], []

        async def receive() -> Message:
            if waiting:
                return waiting.pop(0)
            await arrives.wait()
            return part(b"")

        async def send(message: Message) -> None:
            sent.append(message)

        await application(scope, receive, send)
        return sent

    async def three() -> tuple[list[Message], ...]:
        late, at_once = asyncio.Event(), asyncio.Event()
        at_once.set()
        first = asyncio.create_task(request(b" " * (2 * len(BODY)), late))
        await asyncio.sleep(0)
        refused = await request(b" ", at_once)
        late.set()
        return await first, refused, await request(b" ", at_once)

    first, refused, after = asyncio.run(three())
    assert [status_of(sent)[0] for sent in (first, refused, after)] == [200, 503, 200]
    headers = dict(refused[0]["headers"])
    assert (headers[b"retry-after"], headers[b"connection"]) == (b"1", b"close")


def test_a_client_that_leaves_gets_no_answer(service: PredictionService):
    assert ask(service, LEFT) == []
    assert ask(service, part(b"{", more=True), LEFT) == []


@pytest.mark.parametrize("path", ["/-/healthz", "/-/routes"])
def test_rays_paths_are_rays(service: PredictionService, path: str):
    start, body = ask(service, part(b""), path=path)
    assert (start["status"], body["body"]) == (299, path.encode())


def test_what_is_no_http_request_is_rays(service: PredictionService):
    start, _ = ask(service, path="/", type="websocket")
    assert start["status"] == 299


def test_headers_of_any_bytes_do_no_harm(service: PredictionService):
    sent = ask(service, part(BODY), headers=[(b"authorization", b"\xff"), (b"\xfe", b"\x00")])
    assert status_of(sent)[0] == 200


def read(*messages: Message) -> bytes:
    waiting = list(messages)

    async def receive() -> Message:
        return waiting.pop(0)

    return asyncio.run(read_rest(b"a", receive))


def test_the_rest_of_a_body_is_read_up_to_the_limit():
    assert read(part(b"b", more=True), part(b"c")) == b"abc"
    assert len(read(part(b"x" * (MAX_BODY_BYTES - 1)))) == MAX_BODY_BYTES
    with pytest.raises(Refusal) as caught:
        read(part(b"x" * MAX_BODY_BYTES))
    assert caught.value.status == 413
    with pytest.raises(ConnectionError):
        read(LEFT)


def test_a_long_body_is_not_read_for_a_client_without_a_token(
    bundles: dict[str, Built], tmp_path: Path
):
    tokens = tmp_path / "token"
    rotate(tokens)
    publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
    service = PredictionService(ModelSet(tmp_path / "state.json"), tmp_path / "log", Tokens(tokens))
    # Only the first part of the body ever comes: waiting for more would end in 408.
    start, _ = ask(service, part(b"x" * 1000, more=True))
    assert start["status"] == 401
    service.close()
