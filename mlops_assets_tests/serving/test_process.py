"""One real `python -m serving` for all tests of this file: Ray takes 20 seconds to start."""

import contextlib
import itertools
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.prediction_log import read_from, segments
from mlops_assets_tests.serving.conftest import CONTRACT, Built, frame, publish, records
from mlops_assets_tests.serving.live_canary import LiveCanary
from mlops_assets_tests.serving.test_data_path import ingest
from mlops_assets_tests.waiting import eventually

# Ray needs seconds to start a replica again: test_data_path has the many kills.
KILLS = 3
PATH = "/v1/models/flight_delay/predict"


@dataclass
class Server:
    """The running process and a client for it."""

    process: subprocess.Popen[bytes]
    settings: Settings
    client: httpx.Client

    def predict(self, rows: list[dict[str, Any]]) -> httpx.Response:
        return self.client.post(PATH, json={"records": rows})

    def logged(self) -> dict[str, dict[str, Any]]:
        """Every logged prediction by id."""
        return {
            prediction_id: {"version": record.version, "outputs": outputs}
            for path in segments(self.settings.prediction_log / "flight_delay")
            for record in read_from(path, 0)[0]
            for prediction_id, outputs in zip(record.ids, record.outputs, strict=True)
        }

    def wait_for(self, version: str) -> None:
        def served() -> bool:
            models = self.client.get("/health").json()["models"]
            return bool(models.get("flight_delay", {}).get("version") == version)

        eventually(served, f"version {version} is served")


def start(settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
    log = settings.home / "serving.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "serving", *arguments],
            env=settings.environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened in a test, nothing of ours stays."""
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            for one in [*family, process]:
                one.kill()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(scope="module")
def server(bundles: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # All of it is served without a registry: the follower asks for one that never answers.
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, serve_port=0, tracking_uri="http://127.0.0.1:9")
    publish(settings.serving_state, flight_delay=("1", bundles["1"].folder))
    process = start(settings)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (settings.home / "serving.log").read_text()
        ready = json.loads(line)
        assert ready["event"] == "ready"
        with httpx.Client(base_url=ready["url"], timeout=60) as client:
            yield Server(process, settings, client)
    finally:
        end(process)


@pytest.fixture(autouse=True)
def _version_1(server: Server, bundles: dict[str, Built]) -> None:
    if server.process.poll() is None:
        publish(server.settings.serving_state, flight_delay=("1", bundles["1"].folder))
        server.wait_for("1")


def test_predictions_over_http_equal_the_pipeline_and_are_logged(
    server: Server, bundles: dict[str, Built]
):
    rows = records(100, seed=11)
    response = server.predict(rows)
    logged = server.logged()
    assert response.status_code == 200
    body = response.json()
    got = np.array([list(p["probability"].values()) for p in body["predictions"]])
    expected = bundles["1"].pipeline.predict_proba(frame(rows, CONTRACT))
    assert np.abs(got - expected).max() < 1e-5
    assert [logged[p["prediction_id"]]["outputs"] for p in body["predictions"]] == got.tolist()


GOOD = '"distance": 1, "carrier": "AA", "weekend": true'


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ('{"distance": NaN, "carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": Infinity, "carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": 1e999, "carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": "1", "carrier": "AA", "weekend": true}', "distance"),
        ('{"distance": 1, "weekend": true}', "carrier"),
        (f'{{{GOOD}, "colour": "red"}}', "colour"),
    ],
)
def test_a_broken_contract_is_422_with_the_field(server: Server, record: str, field: str):
    response = server.client.post(PATH, content=f'{{"records": [{record}]}}')
    assert response.status_code == 422
    assert response.json()["error"]["field"] == f"records[0].{field}"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (400, b"[" * 100_000),
        (400, b'{"records": '),
        (400, b'{"records": [{"carrier": "AA", "carrier": "UA"}]}'),
        (413, b" " * (17 * 1024 * 1024)),
    ],
)
def test_what_is_no_request_is_refused(server: Server, status: int, content: bytes):
    assert server.client.post(PATH, content=content).status_code == status


def test_paths_that_do_not_exist_are_404(server: Server):
    assert server.client.get("/").status_code == 404
    assert server.client.post("/v1/models/%ff%fe/predict", content=b"{}").status_code == 404
    assert server.client.get("/redoc").status_code == 404


def test_the_description_is_served(server: Server):
    assert PATH in server.client.get("/openapi.json").json()["paths"]


def test_every_port_is_on_loopback(server: Server):
    family = [server.process, *psutil.Process(server.process.pid).children(recursive=True)]
    listening = {
        connection.laddr.ip
        for process in family
        for connection in psutil.Process(process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_haproxy_holds_no_connection_for_a_client_that_sends_nothing(server: Server):
    (haproxy,) = (
        one
        for one in psutil.Process(server.process.pid).children(recursive=True)
        if one.name() == "haproxy"
    )
    command = haproxy.cmdline()
    config = Path(command[command.index("-f") + 1]).read_text()
    # Ray's template, as our wrapper leaves it; thousands of unfinished heads stop everybody else.
    defaults = config.partition("\ndefaults\n")[2].partition("\nfrontend ")[0]
    assert re.findall(r"timeout (client|http-request) +(\w+)", defaults) == [
        ("client", "60s"),
        ("http-request", "15s"),
    ]


def test_a_swap_under_load_fails_no_request(server: Server, bundles: dict[str, Built]):
    stop = threading.Event()
    rows = records(1, seed=12)

    def load(_: int) -> list[tuple[int, str, str]]:
        seen = []
        with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
            while not stop.is_set():
                answer = client.post(PATH, json={"records": rows})
                body = answer.json()
                prediction = body.get("predictions", [{}])[0].get("prediction_id", "")
                seen.append((answer.status_code, body.get("version", ""), prediction))
        return seen

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(load, worker) for worker in range(16)]
        time.sleep(1.0)
        publish(server.settings.serving_state, flight_delay=("2", bundles["2"].folder))
        time.sleep(2.0)
        stop.set()
        seen = [one for future in futures for one in future.result()]
    assert {status for status, _, _ in seen} == {200}
    assert {version for _, version, _ in seen} == {"1", "2"}
    logged = server.logged()
    assert all(logged[prediction]["version"] == version for _, version, prediction in seen)


def test_a_repeated_request_gets_its_answer_from_every_replica_whatever_came_between(
    server: Server, bundles: dict[str, Built]
):
    def ask(seed: int) -> set[tuple[int, str]]:
        body = {"request_id": "repeated", "records": records(1, seed=seed)}
        # As many in a row as surely meet every replica.
        found = [server.client.post(PATH, json=body) for _ in range(10)]
        return {(one.status_code, one.text) for one in found}

    first = ask(14)
    assert [status for status, _ in first] == [200]
    publish(server.settings.serving_state, flight_delay=("2", bundles["2"].folder))
    server.wait_for("2")
    assert ask(14) == first
    assert {status for status, _ in ask(15)} == {409}
    for victim in replicas_of(server):
        victim.kill()
        victim.wait(10)

    def all_are_back() -> bool:
        return len(replicas_of(server)) >= server.settings.serve_replicas and ask(14) == first

    # With no replica left, the proxy has no answer of ours until their successors are ready.
    eventually(all_are_back, every=0.1)


def test_a_broken_bundle_keeps_the_old_version_serving(
    server: Server, bundles: dict[str, Built], tmp_path: Path
):
    broken = Path(shutil.copytree(bundles["2"].folder, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"x")
    publish(server.settings.serving_state, flight_delay=("2", broken))
    eventually(lambda: server.client.get("/health").json().get("status") == "degraded")
    health = server.client.get("/health").json()
    assert "version 2 cannot be loaded" in health["reason"]
    assert str(tmp_path) not in health["reason"]
    assert server.predict(records(1, seed=1)).json()["version"] == "1"


def test_a_retired_model_is_gone_from_every_replica_and_may_come_back(
    server: Server, bundles: dict[str, Built]
):
    pointer = {"generation": 1, "models": {}, "retired": {"flight_delay": "2026-11-26T08:00:00Z"}}
    write_atomically(server.settings.serving_state, json.dumps(pointer).encode())

    def is_gone() -> bool:
        # Several in a row come from all replicas.
        return all(server.predict(records(1, seed=1)).status_code == 410 for _ in range(8))

    eventually(is_gone)
    answer = server.predict(records(1, seed=1))
    assert "was retired on 2026-11-26" in answer.json()["error"]["message"]
    publish(server.settings.serving_state, flight_delay=("1", bundles["1"].folder))
    server.wait_for("1")
    assert server.predict(records(1, seed=1)).status_code == 200


def test_killed_replicas_lose_no_answered_prediction_while_the_registry_is_away(
    server: Server, bundles: dict[str, Built], tmp_path: Path
):
    stop, rows = threading.Event(), records(1, seed=13)
    deaths = threading.Semaphore(0)

    def load(worker: int) -> tuple[list[str], int]:
        """Prediction ids of one client that tries again, and how often it had to."""
        answered, again = [], 0
        for number in itertools.count():
            body = {"request_id": f"k{worker}-{number}", "records": rows}
            while not stop.is_set():
                try:
                    answer = httpx.post(f"{server.client.base_url}{PATH}", json=body, timeout=10)
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code == 200:
                    answered.append(answer.json()["predictions"][0]["prediction_id"])
                    deaths.release()
                    break
                again += 1
                time.sleep(0.01)
            if stop.is_set():
                return answered, again
        raise AssertionError

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(load, worker) for worker in range(4)]
        try:
            for _ in range(KILLS):
                assert all(deaths.acquire(timeout=60) for _ in range(100))
                victim = replicas_of(server)[0]
                victim.kill()
                victim.wait(10)
                while len(replicas_of(server)) < server.settings.serve_replicas:
                    time.sleep(0.1)
                while deaths.acquire(blocking=False):
                    pass
            assert all(deaths.acquire(timeout=60) for _ in range(100))
        finally:
            stop.set()
        found = [client.result(30) for client in clients]
    answered = [one for ids, _ in found for one in ids]
    # At most what was under way when a replica died: the other one goes on at once.
    assert sum(again for _, again in found) <= KILLS * len(clients)
    times = ingest(tmp_path, server.settings.prediction_log, bundles["1"].folder)
    assert set(answered) - set(times) == set()
    assert max(times.values()) == 1
    assert "registry" in (server.settings.home / "serving.log").read_text().lower()


def test_live_replicas_follow_a_canary_to_everything_and_back_from_one_that_is_worse(
    server: Server, bundles: dict[str, Built], tmp_path: Path
):
    canary = LiveCanary(server.settings, bundles, tmp_path)
    canary.settled(server.client, "1")
    reached: list[set[str]] = []
    for weight in (1, 10, 50):
        canary.split("2", f"champion={100 - weight}", f"challenger={weight}")
        # Whichever replica is asked, and however often.
        found = canary.settled(server.client, "1", "2", weight)
        reached.append({subject for subject, who in found.items() if who == ("2", "challenger")})
        assert len(reached[-1]) == pytest.approx(len(found) * weight / 100, rel=0.5)
    assert reached[0] < reached[1] < reached[2]
    logged = {
        (subject, one.version, one.variant)
        for one in canary.logged()
        if one.ids[0] in canary.newest
        for subject in one.entities
    }
    assert logged == {(subject, *who) for subject, who in found.items()}
    canary.release("2", "1")
    canary.settled(server.client, "2")
    canary.split("3", "challenger=50")
    canary.settled(server.client, "2", "3", 50)
    # Where labels are as the champion thinks, the challenger is surely worse.
    step = canary.judge(50.0, bundles["2"], canary.newest)
    assert (step.action, step.reason[:12]) == ("stop", "surely worse")
    canary.withdraw("3", step.reason)
    canary.settled(server.client, "2")


def replicas_of(server: Server) -> list[psutil.Process]:
    found = []
    for one in psutil.Process(server.process.pid).children(recursive=True):
        # One that was killed may go at any moment.
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.name().startswith("ray::ServeRepl") and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def test_termination_leaves_nothing(server: Server):
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert len(family) > 5
    folders = {arg for p in family for arg in p.cmdline() if "mlops-ray-" in arg and "=" not in arg}
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    with socket.socket() as probe:
        assert probe.connect_ex((server.client.base_url.host, server.client.base_url.port or 80))
    assert not any(Path(folder).exists() for folder in folders)


def test_a_reachable_address_without_a_token_is_refused_at_once(tmp_path: Path):
    settings = Settings(home=tmp_path, serve_host="0.0.0.0", serve_port=0)
    process = start(settings)
    assert process.wait(30) == 2
    end(process)
    assert "MLOPS_SERVE_TOKEN" in (tmp_path / "serving.log").read_text()


def all_end(family: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(family, timeout=seconds)
    for process in alive:
        process.kill()
    return not alive


def begin(command: list[str], settings: Settings) -> subprocess.Popen[bytes]:
    """Start, and wait until Ray has started some of its processes."""
    process = subprocess.Popen(
        command, env=settings.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def has_started() -> bool:
        names = [one.name() for one in psutil.Process(process.pid).children(recursive=True)]
        return "ray::RuntimeEnvAgent"[:15] in [name[:15] for name in names]

    try:
        eventually(has_started, "Ray starts", every=0.1)
    except AssertionError:
        process.kill()
        raise
    return process


@pytest.mark.parametrize("victim", ["guard", "server", "parent"])
def test_nothing_is_left_whichever_process_is_killed(tmp_path: Path, victim: str):
    settings = Settings(home=tmp_path, serve_port=0)
    command = [sys.executable, "-m", "serving", "--no-follow"]
    if victim == "parent":
        command = ["/bin/sh", "-c", f"{shlex.join(command)} & wait"]
    process = begin(command, settings)
    family = psutil.Process(process.pid).children(recursive=True)
    (family[0] if victim == "server" else process).kill()
    process.wait(30)
    assert all_end(family, 30)
