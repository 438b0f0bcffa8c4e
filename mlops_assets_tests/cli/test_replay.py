import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.assets.decision import retrain_policy
from mlops_assets.domain.backtest import Step
from mlops_assets.domain.backtest import replay as replayed
from mlops_assets.domain.learner import Training
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring, training_rows
from mlops_assets.stores.backtest_cache import BacktestCache
from mlops_assets.stores.backtest_history import read_past
from mlops_assets.stores.backtest_learner import PastLearner
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.backtested import ingest
from mlops_assets_tests.loop import add_model, add_parcels, read_model, shipped

# Five months of real runs take a minute, and longer where another worker tests beside.
pytestmark = pytest.mark.timeout(600)
MODEL = "bike_demand"
PERIODS = [f"2011-{month:02d}-01" for month in range(8, 13)]
# The search is short. Most seasons are no harm, so that the reasons are of several kinds.
BIKES: dict[str, Any] = {
    "training": {
        "window": {"min": 4},
        "validation": 1,
        "holdout": 2,
        "metric": "mae",
        "candidates": [{"estimator": "hist_gradient_boosting", "params": {"max_iter": 60}}],
    },
    "monitoring": {"wait": "P1D", "min_rows": 200, "min_harm": 0.4, "min_effect": 1.0},
}
FIGURE = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")


@dataclass(frozen=True)
class Story:
    """What the command told of five months of the shipped model, and the home it left."""

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
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("replay")
    folder = add_model(root / "models", MODEL, shipped(MODEL, **BIKES))
    target = root / "story.json"
    done = replay(
        root / "home",
        root / "models",
        *(MODEL, "--from", PERIODS[0], "--to", "2012-01-01", "--json", str(target)),
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
    ingest(story.model, story.lake, "2012-02-01")
    past = read_past(story.model, story.lake, story.lake.periods(MODEL, "features"))
    cache = BacktestCache.of(tmp_path_factory.mktemp("cache"), story.model, past.content)
    delay = story.model.label_delay
    learner = PastLearner(story.model, past, cache, delay=delay)
    run = replayed(
        learner,
        retrain_policy(story.model),
        story.model.spec.retraining.limits,
        price=learner.default_price,
        delay=delay,
        model=MODEL,
    )
    return learner, list(run.steps[:-1])


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
    decided = monitoring.decisions(story.lake, MODEL)
    expected = [step.decision for step in steps[1]]
    assert [one.period for one in decided] == PERIODS
    actions = [one.action for one in decided]
    assert "retrain" in actions
    assert sum(action in ("nothing", "alert") for action in actions) > 2
    for one, other in zip(decided, expected, strict=True):
        assert other is not None
        assert (one.id, one.period, one.version) == (other.id, other.period, other.version)
        assert (one.action, one.window) == (other.action, other.window)
        told, known = "; ".join(one.reasons), "; ".join(other.reasons)
        assert FIGURE.sub("#", told) == FIGURE.sub("#", known)
        figures = [[float(text) for text in FIGURE.findall(text)] for text in (told, known)]
        # Losses, benefit, price and saving: ONNX answers in single precision.
        assert figures[0] == pytest.approx(figures[1], rel=2e-3, abs=2e-3)


def test_the_loop_serves_the_versions_of_the_backtest(
    story: Story, steps: tuple[PastLearner, list[Step]]
):
    learner, walked = steps
    rows = story.told["periods"]
    retrained = [step.acted == "retrain" for step in walked]
    assert [row["action"] == "retrain" for row in rows] == retrained
    trained: list[Training] = list(dict.fromkeys(step.training for step in walked))
    sets = sorted(
        training_rows.manifests(MODEL, story.lake).values(), key=lambda found: found.as_of
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
    folder = story.home / "reports" / MODEL
    assert (folder / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert PERIODS[0] in (folder / "timeline.html").read_text()
    assert (folder / PERIODS[1] / "drift.html").stat().st_size > 1000


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
