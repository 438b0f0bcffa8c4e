"""No answered prediction is lost: kill -9, and a full disk. Without Ray, see test_process too."""

import http.client
import itertools
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.bundles import write_manifest
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.log_lag import log_lag
from mlops_assets.stores.monitoring import PREDICTIONS, Contracts, ingest_predictions
from mlops_assets.stores.prediction_log import segments
from mlops_assets_tests.serving import light_replica
from mlops_assets_tests.serving.conftest import Built, publish, records
from mlops_assets_tests.stores.test_monitoring import SPEC
from mlops_assets_tests.waiting import eventually
from serving.http import PredictionService
from serving.models import ModelSet

PATH = "/v1/models/flight_delay/predict"
KILLS = 50
CLIENTS = 4
# As many replicas are alive at once.
REPLICAS = 2


def ingest(home: Path, log: Path, bundle: Path) -> Counter[str]:
    """How often each prediction id is in the lake, after all that was logged went there."""
    (home / "rows.csv").touch()
    model = Model("flight_delay", ModelSpec.model_validate(SPEC), home)
    lake = Lake(str(home / "lake"))
    while ingest_predictions(model, lake, log / model.name, Contracts(lambda version: bundle)):
        pass
    return Counter(lake.read(model.name, PREDICTIONS, columns=["prediction_id"])[0].to_pylist())


class Replicas:
    """Processes that serve, and clients that ask whichever is there."""

    def __init__(self, zygote: "subprocess.Popen[str]") -> None:
        self._zygote = zygote
        self._alive: list[tuple[int, int]] = []
        self.stop = threading.Event()
        self.answered: list[str] = []
        self.interrupted = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start one more; returns when it answers."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        print(file=self._zygote.stdin, flush=True)
        pid, port = map(int, self._zygote.stdout.readline().split())
        self._alive.append((pid, port))

    def kill(self) -> None:
        """Kill -9 the oldest one, in the middle of whatever it does."""
        pid, _ = self._alive.pop(0)
        os.kill(pid, signal.SIGKILL)

    def ask(self, draw: random.Random, name: str) -> None:
        """One request of a client, with a request id or without, sent until it is answered."""
        body: dict[str, Any] = {"records": records(draw.choice([1, 1, 5]), seed=draw.randrange(99))}
        if draw.random() < 0.5:
            body["request_id"] = name
        while not self.stop.is_set():
            port = draw.choice(self._alive)[1]
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("POST", PATH, json.dumps(body))
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError):
                with self._lock:
                    self.interrupted += 1
                continue
            finally:
                connection.close()
            assert response.status == 200
            with self._lock:
                self.answered += [one["prediction_id"] for one in answer["predictions"]]
            return

    def client(self, number: int) -> None:
        draw = random.Random(number)
        for count in itertools.count():
            if self.stop.is_set():
                return
            self.ask(draw, f"{number}-{count}")


@contextmanager
def replicas(pointer: Path, log: Path) -> Iterator[Replicas]:
    command = [sys.executable, light_replica.__file__, str(pointer), str(log)]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    zygote = subprocess.Popen(command, env=path, start_new_session=True, **pipes)  # type: ignore[call-overload]
    try:
        found = Replicas(zygote)
        for _ in range(REPLICAS):
            found.start()
        yield found
    finally:
        os.killpg(zygote.pid, signal.SIGKILL)
        zygote.communicate()


def test_fifty_kills_at_load_lose_and_double_nothing(bundles: dict[str, Built], tmp_path: Path):
    pointer, log = tmp_path / "state.json", tmp_path / "log"
    publish(pointer, flight_delay=("1", bundles["1"].folder))
    draw = random.Random(7)
    with replicas(pointer, log) as alive, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(alive.client, number) for number in range(CLIENTS)]
        for _ in range(KILLS):
            alive.start()
            enough = len(alive.answered) + 20
            eventually(lambda enough=enough: len(alive.answered) >= enough, every=0.002)
            time.sleep(draw.uniform(0, 0.02))
            alive.kill()
        alive.stop.set()
        for client in clients:
            client.result(60)
    assert len(segments(log / "flight_delay")) >= KILLS / 2
    # Kills that meet no request would prove nothing.
    assert alive.interrupted >= KILLS / 2
    found = ingest(tmp_path, log, bundles["1"].folder)
    assert len(alive.answered) > 20 * KILLS
    assert set(alive.answered) - set(found) == set()
    assert max(found.values()) == 1
    assert log_lag(log / "flight_delay").pending_bytes == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_where_the_spec_says_so_a_full_disk_sheds_the_log_and_not_the_load(
    bundles: dict[str, Built],
    tmp_path: Path,
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
):
    lenient = Path(shutil.copytree(bundles["1"].folder, tmp_path / "lenient"))
    (lenient / "manifest.json").unlink()
    contract = replace(bundles["1"].contract, log_away="answer")
    (lenient / "contract.json").write_bytes(contract.to_json())
    write_manifest(lenient, "onnx", {})
    publish(tmp_path / "state.json", flight_delay=("1", lenient))
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    service = PredictionService(models, small_disk / "log")
    answered: list[str] = []

    def ask(count: int, rows: int) -> None:
        body = json.dumps({"records": records(rows, seed=1)}).encode()
        for _ in range(count):
            answer = service.handle("POST", PATH, {}, body)
            assert answer.status == 200
            answered.extend(one["prediction_id"] for one in json.loads(answer.body)["predictions"])

    ask(5, rows=1)
    filler = small_disk / "filler"
    stat = os.statvfs(small_disk)
    filler.write_bytes(b"x" * (stat.f_bavail * stat.f_frsize))
    with caplog.at_level(logging.ERROR):
        ask(100, rows=1)
        ask(100, rows=20)
    assert caplog.text.count("cannot be written") == 1
    filler.unlink()
    ask(5, rows=1)
    metrics = service.handle("GET", "/metrics", {}, b"").body.decode()
    service.close()
    (line,) = re.findall(r"mlops_unlogged_requests_total{.*} (.*)", metrics)
    found = ingest(tmp_path, small_disk / "log", lenient)
    # Some were written until the last page was full, and all are there that were not counted.
    assert set(answered[:5]) | set(answered[-5:]) <= set(found) < set(answered)
    assert 150 < float(line) < 200
    alone = [one for one in answered[:105] if one not in found]
    many = [one for one in answered[105:-5:20] if one not in found]
    assert len(alone) + len(many) == float(line)


def test_a_full_disk_sheds_load_and_loses_nothing_and_service_recovers(
    bundles: dict[str, Built], tmp_path: Path, small_disk: Path
):
    publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
    models = ModelSet(tmp_path / "state.json")
    models.refresh()
    log = small_disk / "log"
    service = PredictionService(models, log)
    answered: list[str] = []

    def ask(count: int, rows: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        for number in range(count):
            body = json.dumps({"records": records(rows, seed=number)}).encode()
            answer = service.handle("POST", PATH, {}, body)
            statuses[answer.status] += 1
            content = json.loads(answer.body)
            if answer.status == 200:
                answered.extend(one["prediction_id"] for one in content["predictions"])
            else:
                assert answer.headers["retry-after"] == "5"
                assert content["error"]["message"] == "the prediction cannot be logged"
        return statuses

    for number in range(3):
        assert ask(20, rows=3) == {200: 20}
        # Something else takes what is left, but for less than a page of it.
        filler = small_disk / "filler"
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write_bytes(b"x" * (free - 4096 * number))
        full = ask(200, rows=20)
        assert set(full) <= {200, 503}
        assert full[503] > 150
        filler.unlink()
    assert ask(20, rows=1) == {200: 20}
    metrics = service.handle("GET", "/metrics", {}, b"").body.decode()
    service.close()
    # Hundreds of failed writes make no crowd of segments.
    assert len(segments(log / "flight_delay")) < 12
    found = ingest(tmp_path, log, bundles["1"].folder)
    assert set(found) == set(answered)
    assert max(found.values()) == 1
    torn = log_lag(log / "flight_delay").torn_lines
    assert torn > 0
    assert f'mlops_prediction_log_torn_lines{{model="flight_delay"}} {float(torn)}' in metrics
