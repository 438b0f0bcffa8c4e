import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlops_assets.cli.replay import LOCK
from mlops_assets.domain.backtest import Step
from mlops_assets.domain.learner import Training
from mlops_assets.spec import Model
from mlops_assets.stores import training_rows
from mlops_assets.stores.backtest_learner import PastLearner
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.bikes import BIKES, CHANGES, assert_decided_alike, backtest
from mlops_assets_tests.loop import add_model, add_parcels, read_model, shipped

# Four months of real runs take a minute, and longer where another worker tests beside.
pytestmark = pytest.mark.timeout(600)
PERIODS = [f"2011-{month:02d}-01" for month in range(8, 12)]


@dataclass(frozen=True)
class Story:
    """What the command told of four months of the shipped model, and the home it left."""

    told: dict[str, Any]
    home: Path
    model: Model

    @property
    def lake(self) -> Lake:
        """Everything that was written."""
        return Lake(str(self.home / "lake"))


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
        timeout=560,
        check=False,
    )


@pytest.fixture(scope="module")
def story(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("replay")
    shutil.copytree(prepared_home, root / "home")
    folder = add_model(root / "models", BIKES, shipped(BIKES, **CHANGES))
    target = root / "story.json"
    done = replay(
        root / "home",
        root / "models",
        *(BIKES, "--from", PERIODS[0], "--to", "2011-12-01", "--json", str(target)),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (root / "stderr").write_text(done.stderr)
    return Story(json.loads(target.read_text()), root / "home", read_model(folder))


def test_a_person_reads_the_story_and_not_what_libraries_say(story: Story):
    told = (story.home.parent / "stderr").read_text()
    assert f"{PERIODS[0]}: labels and reports" in told
    assert [word for word in ("DEBUG", "BetaWarning", "Downloading") if word in told] == []


@pytest.fixture(scope="module")
def steps(story: Story, tmp_path_factory: pytest.TempPathFactory) -> tuple[PastLearner, list[Step]]:
    """The same history as a backtest replays it; its last period is served and not decided on."""
    cache = tmp_path_factory.mktemp("cache")
    return backtest(story.model, story.lake, "2012-01-01", cache)


def test_every_period_is_served_judged_and_decided_on(story: Story):
    told = story.told
    assert [row["period"] for row in told["periods"]] == PERIODS
    assert told["failed_requests"] == 0
    assert told["requests"] == sum(row["requests"] for row in told["periods"]) > 0
    assert all(row["loss_live"] is not None and row["reason"] for row in told["periods"])


def test_a_retrain_that_pays_is_released_and_helps(story: Story):
    told = story.told
    retrains = [row for row in told["periods"] if row["action"] == "retrain"]
    assert 0 < len(retrains) < len(PERIODS) - 2
    assert told["retrains"] == len(retrains)
    assert "retraining pays" in retrains[0]["reason"]
    last = told["periods"][-1]
    assert int(last["version"]) > 1
    assert last["loss_live"] < last["loss_first"]
    assert any(row["swap_seconds"] is not None for row in told["periods"])


def test_the_loop_decides_period_by_period_as_a_backtest_of_its_history(
    story: Story, steps: tuple[PastLearner, list[Step]]
):
    actions = assert_decided_alike(story.lake, BIKES, steps[1])
    assert len(actions) == len(PERIODS)
    assert "retrain" in actions
    assert sum(action in ("nothing", "alert") for action in actions) > 2


def test_the_loop_serves_the_versions_of_the_backtest(
    story: Story, steps: tuple[PastLearner, list[Step]]
):
    learner, walked = steps
    rows = story.told["periods"]
    retrained = [step.acted == "retrain" for step in walked]
    assert [row["action"] == "retrain" for row in rows] == retrained
    trained: list[Training] = list(dict.fromkeys(step.training for step in walked))
    sets = sorted(
        training_rows.manifests(BIKES, story.lake).values(), key=lambda found: found.as_of
    )
    assert [row["version"] for row in rows] == [
        str(1 + trained.index(step.training)) for step in walked
    ]
    for training, frozen in zip(trained, sets, strict=False):
        known = learner.periods[: training.end]
        assert frozen.split.refit == tuple(known[-(training.window or len(known)) :])
    for row, step in zip(rows, walked, strict=True):
        assert row["served"] == step.rows
        assert row["loss_live"] == pytest.approx(step.loss, rel=1e-4)


def test_the_timeline_is_drawn(story: Story):
    folder = story.home / "reports" / BIKES
    assert (folder / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert PERIODS[0] in (folder / "timeline.html").read_text()
    assert (folder / PERIODS[1] / "drift.html").stat().st_size > 1000


def test_a_stretch_without_periods_is_refused(tmp_path):
    add_parcels(tmp_path / "models", "parcels", days=4)
    arguments = ("parcels", "--from", "2030-01-01", "--to", "2030-01-01")
    done = replay(tmp_path / "home", tmp_path / "models", *arguments)
    assert done.returncode == 2
    assert "no period of parcels" in done.stderr


def test_a_second_replay_of_a_home_is_refused_while_one_is_under_way(tmp_path):
    add_parcels(tmp_path / "models", "parcels", days=4)
    (tmp_path / "home" / "locks").mkdir(parents=True)
    with FileLock(tmp_path / "home" / "locks" / LOCK):
        arguments = ("parcels", "--from", "2026-01-01", "--to", "2026-01-03")
        done = replay(tmp_path / "home", tmp_path / "models", *arguments)
    assert done.returncode == 1
    assert f"another replay of {tmp_path / 'home'} is under way" in done.stderr
    assert not (tmp_path / "home" / "lake").exists(), "nothing was begun"


def test_an_unknown_model_is_refused_with_the_names_there_are(tmp_path):
    add_parcels(tmp_path / "models", "parcels", days=4)
    arguments = ("letters", "--from", "2026-01-01", "--to", "2026-01-02")
    done = replay(tmp_path / "home", tmp_path / "models", *arguments)
    assert done.returncode == 1
    assert "letters" in done.stderr
    assert "parcels" in done.stderr
