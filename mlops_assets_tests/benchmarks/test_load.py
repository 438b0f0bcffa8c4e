import http.server
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.load import LoadError, drive, parse, write_bodies

GOOD = """Running 1s test @ http://127.0.0.1:1/predict
  1 threads and 8 connections
  12 requests in 1.00s

RESULT {"us": 2000000, "requests": 110, "status": 10, "connect": 1, "read": 2, "write": 3, \
"timeout": 4, "p50_us": 1500.0, "p99_us": 9000.5}
"""


def test_a_window_counts_good_answers_and_everything_else_as_an_error():
    got = parse(GOOD)
    assert got.requests == 100
    assert got.errors == 20
    assert got.seconds == 2.0
    assert (got.p50_ms, got.p99_ms) == (1.5, 9.0005)


def test_a_window_without_answers_has_no_latency():
    said = GOOD.replace('"requests": 110, "status": 10', '"requests": 0, "status": 0')
    assert parse(said).p99_ms is None


@pytest.mark.parametrize(
    "said",
    [
        "",
        "unable to connect to 127.0.0.1:1 Connection refused",
        "RESULT {",
        'RESULT {"us": 5}',
        "RESULT []",
        GOOD.replace("2000000", "0"),
    ],
)
def test_anything_else_that_wrk_says_is_refused(said: str):
    with pytest.raises(LoadError):
        parse(said)


@given(st.text())
def test_no_output_breaks_the_parser(said: str):
    with pytest.raises(LoadError):
        parse("RESULT " + said)


class _Echo(http.server.BaseHTTPRequestHandler):
    """Remembers what it was sent, and refuses the body `bad`."""

    protocol_version = "HTTP/1.1"
    seen: set[tuple[bytes, str | None]]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.add((body, self.headers["Authorization"]))
        self.send_response(400 if body == b"bad" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: object):
        """Say nothing."""


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_every_body_with_our_headers_and_counts_refusals(tmp_path: Path):
    handler = type("Handler", (_Echo,), {"seen": set()})
    write_bodies(tmp_path / "bodies", {"Authorization": "Bearer x"}, [b"one", b"\0two", b"bad"])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        window = drive(url, tmp_path / "bodies", concurrency=2, seconds=1)
        server.shutdown()
    assert handler.seen == {(body, "Bearer x") for body in (b"one", b"\0two", b"bad")}
    assert window.requests > 10
    assert window.errors == pytest.approx(window.requests / 2, abs=3)
    assert window.p99_ms is not None
    assert 0 < window.seconds < 3
