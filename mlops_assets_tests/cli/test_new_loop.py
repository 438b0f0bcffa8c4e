"""From a table that the project has never seen to a served, judged model, without any Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mlops_assets_tests.churn import churn, write_csv


def mlops(root: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "MLOPS_HOME": str(root / "home"),
        "MLOPS_MODELS_DIR": str(root / "models"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mlops_assets.cli", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_table_becomes_a_served_and_judged_model_by_three_commands(
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
