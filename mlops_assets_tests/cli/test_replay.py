import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets_tests.loop import add_parcels

# More rows alone, of so few, would soon be worth a retrain at the default price.
QUICK = {"price": 60, "cooldown": 1, "rollback_periods": 0}


def replay(home: Path, models: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "MLOPS_HOME": str(home),
        "MLOPS_MODELS_DIR": str(models),
    }
    return subprocess.run(
        [sys.executable, "-m", "mlops_assets.cli", "replay", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    root = tmp_path_factory.mktemp("replay")
    # Near parcels take the longest from the twelfth day on: the first version becomes wrong.
    add_parcels(root / "models", "parcels", days=18, retraining=QUICK)
    target = root / "story.json"
    done = replay(
        root / "home",
        root / "models",
        *("parcels", "--from", "2026-01-09", "--to", "2026-01-18", "--json", str(target)),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(target.read_text()), root / "home"


def test_every_period_is_served_judged_and_decided_on(story):
    told, _ = story
    assert [row["period"] for row in told["periods"]] == [
        f"2026-01-{day:02d}" for day in range(9, 18)
    ]
    assert told["failed_requests"] == 0
    assert told["requests"] == sum(row["requests"] for row in told["periods"]) > 0
    assert all(row["loss_live"] is not None and row["reason"] for row in told["periods"])


def test_proven_harm_leads_to_a_retrain_that_is_released_and_helps(story):
    told, _ = story
    retrains = [row for row in told["periods"] if row["action"] == "retrain"]
    assert retrains
    assert told["retrains"] == len(retrains)
    assert "harm" in retrains[0]["reason"]
    last = told["periods"][-1]
    assert int(last["version"]) > 1
    assert last["loss_live"] < last["loss_first"]
    assert any(row["swap_seconds"] is not None for row in told["periods"])


def test_periods_before_the_change_are_left_alone(story):
    told, _ = story
    early = [row for row in told["periods"] if row["period"] < "2026-01-12"]
    assert early
    assert {row["action"] for row in early} <= {"nothing", "alert"}


def test_the_timeline_is_drawn(story):
    _, home = story
    folder = home / "reports" / "parcels"
    assert (folder / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert "2026-01-09" in (folder / "timeline.html").read_text()
    assert (folder / "2026-01-10" / "drift.html").stat().st_size > 1000


def test_a_stretch_without_periods_is_refused(tmp_path):
    add_parcels(tmp_path / "models", "parcels", days=4)
    arguments = ("parcels", "--from", "2030-01-01", "--to", "2030-01-01")
    done = replay(tmp_path / "home", tmp_path / "models", *arguments)
    assert done.returncode == 2
    assert "no period of parcels" in done.stderr


def test_an_unknown_model_is_refused_with_the_names_there_are(tmp_path):
    add_parcels(tmp_path / "models", "parcels", days=4)
    arguments = ("letters", "--from", "2026-01-01", "--to", "2026-01-02")
    done = replay(tmp_path / "home", tmp_path / "models", *arguments)
    assert done.returncode == 1
    assert "letters" in done.stderr
    assert "parcels" in done.stderr
