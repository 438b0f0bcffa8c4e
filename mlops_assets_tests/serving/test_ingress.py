"""The application that stands in the replica's server: by itself, and in a real server."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_assets.stores.tokens import rotate
from mlops_assets_tests.serving.conftest import Built, publish, records
from mlops_assets_tests.waiting import PATIENCE
from serving import ingress
from serving.answers import Refusal
from serving.auth import Tokens
from serving.http import MAX_BODY_BYTES, PredictionService
from serving.ingress import Ingress, Message, read_rest, start_server
from serving.models import ModelSet

PATH = "/v1/models/flight_delay/predict"
BODY = json.dumps({"records": records(1, seed=3)}).encode()


@pytest.fixture(scope="module")
def service(
    bundles: dict[str, Built], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PredictionService]:
    home = tmp_path_factory.mktemp("home")
    publish(home / "state.json", flight_delay=("1", bundles["1"].folder))
    models = ModelSet(home / "state.json")
    models.refresh()
    service = PredictionService(models, home / "log")
    yield service
    service.close()


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


@pytest.fixture(scope="module")
def address(service: PredictionService) -> Iterator[tuple[str, int]]:
    """A real server on a free port, in a thread of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    loop = asyncio.new_event_loop()
    task, server = start_server(Ingress(service, rays), "127.0.0.1", port, loop)
    thread = threading.Thread(target=lambda: loop.run_until_complete(task), daemon=True)
    thread.start()
    while not server.started:
        pass
    yield "127.0.0.1", port
    server.should_exit = True
    thread.join()
    loop.close()


def raw(address: tuple[str, int], *pieces: bytes, seconds: float = PATIENCE) -> bytes:
    """What the server sends until it closes the connection or is silent for so long."""
    with socket.create_connection(address, timeout=seconds) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        try:
            while more := connection.recv(65536):
                received += more
        except TimeoutError:
            pass
        return received


def request(body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    lines = [method + b" " + PATH.encode() + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    return b"\r\n".join([*lines, *headers, b"", body])


def test_the_server_answers_whatever_way_a_body_is_sent(address: tuple[str, int]):
    length = b"Content-Length: " + str(len(BODY)).encode()
    assert raw(address, request(BODY, length)).startswith(b"HTTP/1.1 200")
    whole = request(BODY, length)
    assert raw(address, whole[:-20], whole[-20:]).startswith(b"HTTP/1.1 200")
    chunk = hex(len(BODY))[2:].encode() + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked"
    assert raw(address, request(chunk, chunked)).startswith(b"HTTP/1.1 200")
    bytewise = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    assert raw(address, request(bytewise, chunked)).startswith(b"HTTP/1.1 200")
    half = len(bytewise) // 2
    assert raw(address, request(bytewise[:half], chunked), bytewise[half:]).startswith(
        b"HTTP/1.1 200"
    )
    long = BODY + b" " * 1_000_000
    measured = b"Content-Length: " + str(len(long)).encode()
    assert raw(address, request(long, measured)).startswith(b"HTTP/1.1 200")
    for size in (70_000, 300_000):
        sent = request(long, measured)
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        assert raw(address, *pieces).startswith(b"HTTP/1.1 200")
    expecting = request(BODY, length, b"Expect: 100-continue")
    assert b"HTTP/1.1 200" in raw(address, expecting)
    head = raw(address, request(b"", method=b"HEAD"))
    assert head.startswith(b"HTTP/1.1 405")
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xa5",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_never_give_a_server_error(address: tuple[str, int], sent: bytes):
    answer = raw(address, sent, seconds=1)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 400"))
    assert httpx.get(f"http://127.0.0.1:{address[1]}/health").status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_costs_nothing(address: tuple[str, int]):
    for _ in range(20):
        with socket.create_connection(address) as connection:
            connection.sendall(request(BODY[:10], b"Content-Length: 1000"))
    assert httpx.get(f"http://127.0.0.1:{address[1]}/health").status_code == 200


def test_an_address_that_is_taken_is_said_to_be(address: tuple[str, int]):
    loop = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="cannot be listened on"):
        start_server(rays, *address, loop)
    loop.close()


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
