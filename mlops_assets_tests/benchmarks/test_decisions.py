import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.decisions import tables
from benchmarks.decisions.__main__ import main
from benchmarks.decisions.data import draw, load
from benchmarks.decisions.learner import TableLearner
from benchmarks.decisions.shifts import outcomes
from benchmarks.decisions.values import Value, scheduled
from mlops_assets.domain.backtest import frame, replay, tie_price
from mlops_assets.domain.evidence import RetrainPolicy
from mlops_assets.domain.governor import Limits

PERIODS, ROWS = 12, 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which the meaning of a column turns by and by, and one that stays."""
    folder = tmp_path_factory.mktemp("histories")
    rng = np.random.default_rng(3)
    for name, turn in (("turning", 0.25), ("steady", 0.0)):
        period = np.repeat(np.arange(PERIODS), ROWS)
        x, z = rng.normal(size=(2, len(period)))
        level = rng.choice(["a", "b", None], len(period))
        told = np.cos(turn * period) * x + np.sin(turn * period) * z
        y = (rng.random(len(period)) < 1 / (1 + np.exp(-3 * told))).astype(int)
        frame = pd.DataFrame({"x": x, "z": z, "level": level, "y": y, "period": period})
        frame.to_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def learner(folder: Path) -> TableLearner:
    return TableLearner(draw(load(folder / "turning.parquet"), 0), 0)


def test_a_fixed_interval_costs_what_the_schedule_policy_costs(learner: TableLearner):
    policy = RetrainPolicy("schedule", 0, 4, 3, 0.85, 2, None)
    told = replay(learner, policy, Limits(cooldown=0, budget_per_month=None), price=5.0)
    lost, retrains = scheduled(learner, 3, 0)
    assert told.retrains == retrains
    assert told.total_loss == pytest.approx(lost)


def test_at_the_tie_price_never_and_always_cost_the_same(learner: TableLearner):
    framed = frame(learner, price=tie_price(learner))
    assert framed.never == pytest.approx(framed.always)
    assert framed.best < framed.never


def test_shuffled_rows_keep_their_number_per_period(folder: Path):
    table = load(folder / "turning.parquet")
    kept, shuffled = draw(table, 1), draw(table, 1, shuffled=True)
    assert list(shuffled.starts) == list(kept.starts)
    assert sorted(shuffled.columns["x"]) == sorted(kept.columns["x"])
    assert list(shuffled.columns["x"]) != list(kept.columns["x"])


def test_the_quick_run_writes_every_policy_and_the_default_beats_never_in_a_turning_world(
    folder: Path, tmp_path: Path
):
    file = tmp_path / "figures.json"
    asked = ["--data", str(folder), "--quick", "--seeds", "1", "--delay", "0", "--json", str(file)]
    # As a command: what a spawned process can import is not the same as in a test.
    command = [sys.executable, "-m", "benchmarks.decisions", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    told = json.loads(file.read_text())
    assert set(told) == {"policies", "quiet", "shifts", "monitoring_cpu_share"}
    names = {row["policy"] for row in told["policies"]}
    expected = {"default", "performance", "drift", "rule_of_thumb", "never", "always", "hindsight"}
    assert names >= expected | {f"every_{every}" for every in range(1, 13)}
    turning = {
        row["policy"]: row["value"]
        for row in told["policies"]
        if row["dataset"] == "turning" and row["price_factor"] == 1.0
    }
    assert turning["default"] > turning["never"]
    assert turning["hindsight"] == pytest.approx(1.0)
    assert {row["policy"] for row in told["quiet"]} >= {"default", "performance"}
    assert "value, mean >= 0.90" in done.stdout


def test_a_harmful_shift_is_noticed_and_steady_rows_are_not_told_of(folder: Path):
    found = [one for one in outcomes(folder / "steady.parquet", 300, 0) if one.policy == "default"]
    assert {one.shift for one in found} >= {"concept", "decay"}
    concept = next(one for one in found if one.shift == "concept")
    assert concept.caught_after is not None
    assert concept.harmful


def test_a_folder_without_histories_is_refused(tmp_path: Path):
    assert main(["--data", str(tmp_path)]) == 2


def test_a_table_without_labels_names_what_it_has(tmp_path: Path):
    pd.DataFrame({"x": [1.0], "period": [0]}).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(SystemExit, match="needs columns y"):
        load(tmp_path / "bad.parquet")


def test_rows_of_the_table_are_means_over_seeds_with_an_interval():
    ones = [Value("default", "bike", seed, 0, 1.0, v, 2, 0.3) for seed, v in enumerate((0.8, 1.0))]
    row = tables.policy_rows(ones)[0]
    assert row["value"] == pytest.approx(0.9)
    assert row["value_low"] < 0.8 < 1.0 < row["value_high"]
