import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from mlops_assets.cli import client as client_module
from mlops_assets.cli.client import HttpClient


class Echo(BaseHTTPRequestHandler):
    """Answers with the body; 500 for `bad`, and the token it was sent in the status line's path."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[int]] = set()
    tokens: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Echo.connections.add(self.client_address[1])
        Echo.tokens.add(self.headers.get("Authorization", ""))
        self.send_response(500 if body == b"bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Echo.connections, Echo.tokens = set(), set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_answers_come_in_the_order_of_the_requests_over_few_connections(url):
    with HttpClient(url, "", 4) as client:
        bodies = [str(number).encode() for number in range(100)]
        assert list(client.post_all("/", bodies)) == [(200, body) for body in bodies]
    assert 1 <= len(Echo.connections) <= 4


def test_a_failed_request_is_counted_with_its_status_and_not_repeated(url):
    with HttpClient(url, "secret", 2) as client:
        assert list(client.post_all("/", [b"bad", b"good"])) == [(500, b"bad"), (200, b"good")]
    assert Echo.tokens == {"Bearer secret"}


def test_a_server_that_is_away_is_a_failure_and_no_error():
    with HttpClient("http://127.0.0.1:9", "", 1) as client:
        [(status, body)] = client.post_all("/", [b"x"])
        assert client.health() == {"models": {}}
    assert status == 0
    assert b"refused" in body


def test_an_unhealthy_server_serves_no_model(url):
    with HttpClient(url, "", 1) as client:
        assert client.health() == {"models": {}}


def test_a_connection_that_was_idle_for_long_is_not_used_again(url, monkeypatch):
    monkeypatch.setattr(client_module, "LONGEST_IDLE_SECONDS", 0.0)
    with HttpClient(url, "", 1) as client:
        assert [status for status, _ in client.post_all("/", [b"a", b"b", b"c"])] == [200] * 3
    assert len(Echo.connections) == 3
