"""From a table that the project has never seen to a served, judged model, without any Python."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from mlops_assets_tests.churn import churn, write_csv


def environment(root: Path) -> dict[str, str]:
    return {
        **os.environ,
        "MLOPS_HOME": str(root / "home"),
        "MLOPS_MODELS_DIR": str(root / "models"),
    }


def asked_of_up(root: Path, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the endpoint of `mlops up` answers, which is started for it and ended again."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlops_assets.cli", "up", "--no-dagster", "--no-mlflow", "--json"],
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["urls"]["serve"]
        content = {"Content-Type": "application/json"}
        request = Request(f"{url}{path}", json.dumps(body).encode(), content)
        with urlopen(request, timeout=60) as answer:
            return dict(json.loads(answer.read()))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def mlops(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mlops_assets.cli", *arguments],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_table_becomes_a_served_and_judged_model_by_four_commands(
    prepared_home: Path, tmp_path: Path
):
    shutil.copytree(prepared_home, tmp_path / "home")
    write_csv(churn(10), tmp_path / "churn.csv")
    named = ("--from", "churn.csv", "--time", "snapshot_at", "--label", "left")
    told = mlops(tmp_path, "new", "churn", *named)
    assert "mlops replay churn --from 2026-06-29 --to 2026-07-13" in told
    assert "all good" in mlops(tmp_path, "check", "churn")
    stretch = ("--from", "2026-06-29", "--to", "2026-07-06", "--json", "story.json")
    mlops(tmp_path, "replay", "churn", *stretch)
    story = json.loads((tmp_path / "story.json").read_text())
    assert story["failed_requests"] == 0
    (period,) = story["periods"]
    assert period["version"] == "1"
    assert period["served"] == 150
    # Better than always answering the shares of the classes.
    assert period["loss_live"] < 0.6
    record = {
        "customer_id": "1001",
        "snapshot_at": "2026-07-14T08:00:00Z",
        "age": 34,
        "plan": "plus",
        "usage_hours": 12.5,
        "tickets": 3,
    }
    answer = asked_of_up(tmp_path, "/v1/models/churn/predict", {"records": [record]})
    assert answer["version"] == "1"
    assert answer["predictions"][0]["prediction"] in ("yes", "no")
