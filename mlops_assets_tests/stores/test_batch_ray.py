"""What runs on a Ray cluster: batches, and the trials of a search. The tests share one."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.stores.batch_run import BatchPlan, run_batch
from mlops_assets.stores.bundles import Scorer, load_scorer
from mlops_assets.stores.trial_workers import Run, workers
from mlops_assets_tests.loop import Loop, add_parcels, environment, errors, load
from mlops_assets_tests.stores.test_batch_run import (  # noqa: F401
    bundle,
    contents,
    model,
    plan,
)

HEAD = """
import sys
import ray
from mlops_assets.stores.batch_ray import LOCAL, connect
connect(LOCAL)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
FOREST = "sklearn.ensemble:ExtraTreesClassifier"
SEARCHED = {
    "window": {"min": 2},
    "validation": 1,
    "holdout": 1,
    "seed": 3,
    "candidates": [
        {
            "estimator": FOREST,
            "params": {"min_samples_leaf": 5},
            "space": {
                "n_estimators": {"type": "int", "low": 5, "high": 30},
                "max_features": {"type": "float", "low": 0.2, "high": 1.0},
                "max_depth": {"type": "choice", "values": [2, None]},
            },
        }
    ],
    # More at a time than this machine may have cores.
    "search": {"trials": 3, "parallel": 3, "folds": 2},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of this machine, started as MLOPS_RAY_ADDRESS=local does it.

    It asks for a token, so whoever uses it must be told to send one.
    """
    from ray._raylet import Config

    head = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HEAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert head.stdout is not None
        with environment(RAY_AUTH_MODE="token"):
            # Ray reads its environment when it is imported, which may have been before.
            Config.initialize("")
            yield head.stdout.readline().strip()
        Config.initialize("")
    finally:
        head.communicate(timeout=30)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose estimator is a class of some package, with a space to search."""
    folder = tmp_path_factory.mktemp("models")
    add_parcels(folder, "searched", days=8, training=SEARCHED, gates={"margin": 0.2})
    return folder


@pytest.fixture(scope="module")
def here(loop: Loop, models: Path) -> Any:
    """Its first training, with trials in processes of this machine."""
    loop.at("2026-01-08")
    definitions = loop.load(models)
    assert loop.run("searched__ingest", "2026-01-01", "2026-01-07", definitions=definitions).success
    result = loop.run("searched__train", definitions=definitions)
    assert result.success, errors(result)
    return result


def trials_of(loop: Loop, result: Any) -> dict[str, Any]:
    """Settings and scores of a training's trials, by name."""
    parent = loop.parent_run(result).info.run_id
    return {
        run.data.tags["trial"]: (
            run.data.params,
            {name: v for name, v in run.data.metrics.items() if name.startswith("validation_")},
        )
        for run in loop.mlflow_runs(f"tags.mlflow.parentRunId = '{parent}'")
    }


def scorer_of(loop: Loop, version: str) -> Scorer:
    stores = loop.stores
    return load_scorer(stores.registry.cached_bundle("searched", version, stores.bundles))


def test_an_import_path_with_a_space_is_searched_released_and_compiled(loop: Loop, here: Any):
    tried = trials_of(loop, here)
    assert len(tried) == 3
    for params, scores in tried.values():
        assert params["estimator"] == FOREST
        assert params["min_samples_leaf"] == "5"
        assert 5 <= int(params["n_estimators"]) <= 30
        assert 0.2 <= float(params["max_features"]) <= 1
        assert params["max_depth"] in ("2", "None")
        assert 0 < scores["validation_log_loss"] < 1
    shown = loop.materialization("searched", "challenger").metadata
    best = min(tried, key=lambda name: tried[name][1]["validation_log_loss"])
    assert shown["estimator"].value == best
    assert shown["runtime"].value == "onnx"
    assert loop.alias("searched") == "1"
    # It has learnt what the parcels are about.
    assert loop.parent_run(here).data.metrics["holdout_roc_auc"] > 0.9


def test_a_cluster_finds_the_same_winner_and_makes_the_same_model(
    loop: Loop, here: Any, models: Path, cluster: str
):
    before = trials_of(loop, here)
    with environment(MLOPS_RAY_ADDRESS=cluster):
        definitions = load(loop.settings.home, models)
    loop.at("2026-01-08")
    result = loop.run("searched__train", definitions=definitions)
    assert result.success, errors(result)
    assert trials_of(loop, result) == before
    assert loop.alias("searched") == "2"
    draw = np.random.default_rng(0)
    zones = np.array(["near", "far", "abroad"], dtype=object)[draw.integers(0, 3, 200)]
    probe = {"zone": zones, "weight": draw.uniform(0, 20, 200)}
    scores = [scorer_of(loop, version).score(probe) for version in ("1", "2")]
    np.testing.assert_array_equal(*scores)
    assert np.ptp(scores[0]) > 0.5


def fail_at(place: int) -> int:
    if place == 2:
        raise NotTrainableError("the third is refused")
    return place


def test_a_trial_that_is_refused_there_is_the_error_that_it_is_here(cluster: str):
    def refused(run: Run) -> str:
        with pytest.raises(NotTrainableError) as caught:
            run(fail_at, [(0,), (1,), (2,)])
        return str(caught.value)

    with workers(2, cluster) as run:
        assert run(fail_at, [(5,), (4,), (3,), (0,)]) == [5, 4, 3, 0]
        assert refused(run) == "the third is refused"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data")
def test_a_cluster_writes_the_same_bytes(cluster: str, plan: BatchPlan):  # noqa: F811
    here = plan.output.with_name("here")
    run_batch(replace(plan, output=here), workers=1)
    summary = run_batch(plan, workers=1, ray_address=cluster)
    assert summary.predicted > 0
    assert contents(plan.output) == contents(here)
    scores = pq.read_table(plan.output)["probability_late"].to_numpy()
    assert np.ptp(scores) > 0.5
