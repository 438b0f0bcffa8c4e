import json
import subprocess
import sys
from pathlib import Path

from mlops_assets.stores.prediction_log import read_from, segments
from mlops_assets_tests.serving.conftest import Built, publish, records

OURS = "import serving.app, serving.http, serving.models, serving.bodies"
HEAVY = ("mlflow", "dagster", "evidently", "sklearn", "skops", "onnx", "deltalake")


def imported(statement: str, names: tuple[str, ...]) -> list[str]:
    code = f"import sys\n{statement}\nprint(*[m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_our_part_of_a_replica_imports_no_heavy_library():
    assert imported(OURS, (*HEAVY, "pandas", "pyarrow", "ray")) == []


def test_a_whole_replica_imports_no_heavy_library():
    # Ray itself imports pandas, and pandas pyarrow, wherever they are installed.
    assert imported(f"import ray.serve._private.replica\n{OURS}", HEAVY) == []


# What Ray does with a replica where there is no HAProxy in front of it.
THROUGH_RAY = """
import asyncio, json, sys
from starlette.requests import Request
from serving.app import Replica

home, body = sys.argv[1:]
folders = [f"{home}/{name}" for name in ("state.json", "log", "stats")]
replica = Replica(*folders, "", f"sqlite:///{home}/none.db", home, f"{home}/answers")

async def ask(method, path, *parts):
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
    answer = await replica(Request(scope, receive))
    return answer.status_code, json.loads(answer.body)

async def all_of_them():
    path, raw = "/v1/models/flight_delay/predict", body.encode()
    return [
        await ask("GET", "/health"),
        await ask("POST", path, raw[:9], raw[9:]),
        await ask("POST", path, b"{"),
        await ask("POST", path, *[b" " * 2**20] * 17),
        await ask("POST", "/v2/models/flight_delay/infer", *[b" " * 2**20] * 17),
    ]

print(json.dumps(asyncio.run(all_of_them())))
"""


def test_where_requests_come_through_ray_they_are_answered_and_refused_alike(
    bundles: dict[str, Built], tmp_path: Path
):
    publish(tmp_path / "state.json", flight_delay=("1", bundles["1"].folder))
    body = json.dumps({"request_id": "r", "records": records(1, seed=1)})
    command = [sys.executable, "-c", THROUGH_RAY, str(tmp_path), body]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    health, answered, broken, large, inference = json.loads(done.stdout.splitlines()[-1])
    assert (health[0], health[1]["status"]) == (200, "ok")
    assert (answered[0], answered[1]["version"]) == (200, "1")
    assert (broken[0], broken[1]["error"]["field"]) == (400, "body")
    assert (large[0], large[1]["error"]["field"]) == (413, "body")
    assert (inference[0], inference[1]["error"][:5]) == (413, "body:")
    (segment,) = segments(tmp_path / "log" / "flight_delay")
    (logged,) = read_from(segment, 0)[0]
    assert logged.ids == [answered[1]["predictions"][0]["prediction_id"]]
