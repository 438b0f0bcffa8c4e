"""Real starts of small servers: one that is right, one that is wrong, one that ends at once."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.serving.measure import Effort, ServerError, check, running
from benchmarks.serving.model import Built, Sample, contract, draw
from benchmarks.serving.servers.base import Launch, Server, Setup, free_port

PROGRAM = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["records"]
        body = json.dumps([float(sys.argv[2])] * len(rows)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Constant(Server):
    """Answers every row with the same probability."""

    name = "constant"

    def __init__(self, value: float, program: str = PROGRAM) -> None:
        self._value = value
        self._program = program

    def launch(self, setup: Setup) -> Launch:
        command = [sys.executable, "-c", self._program, str(setup.port), str(self._value)]
        return Launch(command)

    def probabilities(self, answer: bytes, form: str) -> list[float]:
        found: list[float] = json.loads(answer)
        return found


class Half:
    """A pipeline whose every probability is a half."""

    def predict_proba(self, frame):
        return np.full((len(frame), 2), 0.5)


def setup_in(folder: Path) -> Setup:
    built = Built("boosting", contract(), Half(), folder / "none", folder / "none")
    return Setup(Path(sys.executable), free_port(), folder / "server", built)


def test_a_server_that_agrees_with_the_pipeline_passes_and_is_gone_afterwards(tmp_path: Path):
    setup = setup_in(tmp_path)
    server = Constant(0.5)
    with running(server, setup) as (tree, cold_start):
        check(server, setup, [setup.built.sample(3, seed=1)], "records")
        root = tree.process.pid
        assert psutil.pid_exists(root)
        assert 0 < cold_start < 60
    assert not psutil.pid_exists(root)
    assert not setup.folder.exists()


@pytest.mark.parametrize(("value", "is_off"), [(0.500009, False), (0.50002, True)])
def test_answers_may_differ_by_no_more_than_rounding(tmp_path: Path, value: float, is_off: bool):
    setup = setup_in(tmp_path)
    server = Constant(value)
    sample = Sample(draw(2, seed=1), np.array([0.5, 0.5]))
    with running(server, setup):
        if is_off:
            with pytest.raises(ServerError, match="off by"):
                check(server, setup, [sample], "records")
        else:
            check(server, setup, [sample], "records")


def test_an_answer_that_is_no_answer_is_told(tmp_path: Path):
    setup = setup_in(tmp_path)
    silly = Constant(0.5, PROGRAM.replace("[float(sys.argv[2])] * len(rows)", "{'detail': 'no'}"))
    with (
        running(silly, setup),
        pytest.raises(ServerError, match="detail"),
    ):
        check(silly, setup, [setup.built.sample(1, seed=1)], "records")


def test_a_server_that_ends_is_told_with_what_it_said(tmp_path: Path):
    broken = Constant(0.5, "raise SystemExit('no such model here')")
    started = time.monotonic()
    with (
        pytest.raises(ServerError, match="no such model here"),
        running(broken, setup_in(tmp_path)),
    ):
        raise AssertionError("it never started")
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("rate", "seconds"), [(1000.0, 5.0), (30.0, 6.4), (10.0, 15.0), (0.0, 15.0)]
)
def test_slow_servers_get_longer_windows_within_a_limit(rate: float, seconds: float):
    assert Effort(3, 5, 2).window_for(rate, concurrency=64) == pytest.approx(seconds)
