"""The replica's HTTP server over real sockets: what clients send, and how answers leave."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mlops_assets_tests.serving.conftest import records
from serving.answers import WHOLE_ANSWER, Answer
from serving.http import PredictionService
from serving.http_server import start_server
from serving.ingress import Ingress

PATH = "/v1/models/flight_delay/predict"
BODY = json.dumps({"records": records(1, seed=3)}).encode()
LARGE = b"x" * 3_000_000


async def rays(scope: Any, receive: Any, send: Any) -> None:
    """An application in the place of Ray's; `/-/large` and `/-/last` answer as ours do."""
    if scope["path"] == "/-/large":
        await scope["extensions"][WHOLE_ANSWER](Answer(200, LARGE))
        return
    if scope["path"] == "/-/last":
        await scope["extensions"][WHOLE_ANSWER](Answer(413, b"", {"connection": "close"}))
        return
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


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


def raw(address: tuple[str, int], *pieces: bytes) -> bytes:
    """What the server sends until it closes the connection or is silent for a second."""
    with socket.create_connection(address, timeout=1) as connection:
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
    answer = raw(address, sent)
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


def test_an_answer_has_a_date_its_type_and_its_length(address: tuple[str, int]):
    answer = httpx.post(f"http://127.0.0.1:{address[1]}{PATH}", content=BODY)
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "date" in answer.headers
    assert "connection" not in answer.headers


def test_one_connection_serves_request_after_request_until_it_is_told_to_close(
    address: tuple[str, int],
):
    length = b"Content-Length: " + str(len(BODY)).encode()
    last = request(BODY, length)
    kept = last.replace(b"Connection: close\r\n", b"")
    unknown = kept.replace(b"flight_delay", b"nothing_such")
    answers = raw(address, kept + unknown, kept, last)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"200", b"404", b"200", b"200"]
    assert answers.count(b"connection: close") == 1
    # Of HTTP/1.0, a connection is closed unless the client asks otherwise.
    assert b"connection: close" in raw(address, kept.replace(b"HTTP/1.1", b"HTTP/1.0"))


def test_an_answer_that_closes_the_connection_says_so_once(address: tuple[str, int]):
    asked = b"GET /-/last HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(address, asked, asked)
    assert answer.startswith(b"HTTP/1.1 413")
    assert answer.count(b"HTTP/1.1") == answer.count(b"connection: close") == 1


def test_a_slow_reader_gets_every_answer_whole_and_in_order(address: tuple[str, int]):
    head = b"GET /-/large HTTP/1.1\r\nHost: x\r\n%b\r\n"
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(3 * (head % b"") + head % b"Connection: close\r\n")
        time.sleep(0.3)
        received = b""
        while more := connection.recv(1 << 20):
            received += more
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(LARGE) == 4


def test_what_the_server_answers_for_ray_goes_its_own_way(address: tuple[str, int]):
    answer = httpx.get(f"http://127.0.0.1:{address[1]}/-/healthz")
    assert (answer.status_code, answer.text) == (299, "/-/healthz")
