"""Many rows at once, against ONNX Runtime on the same graph."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from mlops_assets.domain import tree_scoring
from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import Task
from mlops_assets.domain.features import as_arrays
from mlops_assets.domain.training import Trial, fit
from mlops_assets.domain.tree_scoring import Tree
from mlops_assets.stores import bulk_onnx
from mlops_assets.stores.bundles import BULK_ROWS, OnnxScorer
from mlops_assets.stores.onnx_export import to_onnx
from mlops_assets_tests.stores.test_onnx_export import DERIVED, SETTINGS, contract, frame, target

CASES: list[tuple[str, Task]] = [
    ("hist_gradient_boosting", "binary"),
    ("hist_gradient_boosting", "multiclass"),
    ("hist_gradient_boosting", "regression"),
    ("lightgbm", "multiclass"),
    ("lightgbm", "regression"),
    ("xgboost", "binary"),
]
ROWS = 3 * BULK_ROWS
LARGE = {"max_iter": 3, "max_leaf_nodes": 100, "min_samples_leaf": 2}


def exported(
    folder: Path,
    estimator: str,
    task: Task,
    derived: Sequence[dict[str, Any]] = DERIVED,
    **settings: int,
) -> Path:
    train = frame(800, 0, ("x", "y", None))
    trial = Trial("t", estimator, settings or SETTINGS[estimator])
    model = fit(trial, contract(task), derived, train, target(train, task), seed=0)
    path = folder / "model.onnx"
    path.write_bytes(to_onnx(model, contract(task)))
    return path


@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_boosted_trees_give_what_onnx_runtime_gives(tmp_path: Path, estimator: str, task: Task):
    path = exported(tmp_path, estimator, task)
    bulk, alone = OnnxScorer(contract(task), path, bulk=True), OnnxScorer(contract(task), path)
    assert bulk.bulk is not None
    # Rows that were trained on lie on the trees' thresholds; the others hold unknown kinds.
    rows = pd.concat([frame(ROWS, 0, ("x", "y", None)), frame(ROWS, 1, ("x", "new", "ö", None))])
    columns = as_arrays(rows.reset_index(drop=True))
    found, expected = bulk.score(columns), alone.score(columns)
    assert found.shape == expected.shape
    assert found.dtype == np.float64
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(found - expected).max() <= 1e-6 * scale
    assert np.ptp(expected[:, 0]) > 0.1
    coded: dict[str, Column] = {
        name: Coded.of(values.tolist()) if values.dtype == object else values
        for name, values in columns.items()
    }
    assert any(isinstance(values, Coded) for values in coded.values())
    assert (bulk.score(coded) == found).all()
    assert (alone.score(coded) == expected).all()
    few = {name: values[: BULK_ROWS - 1] for name, values in columns.items()}
    # Derived columns take ONNX Runtime up to the trees, which is then as fast for few rows.
    assert bulk.bulk.joined is None
    assert (bulk.score(few) == alone.score(few)).all()


@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "lightgbm", "xgboost"])
def test_columns_that_need_no_arithmetic_reach_the_trees_without_onnx_runtime(
    tmp_path: Path, estimator: str
):
    path = exported(tmp_path, estimator, "binary", derived=[])
    bulk, alone = (
        OnnxScorer(contract("binary"), path, bulk=True),
        OnnxScorer(contract("binary"), path),
    )
    assert bulk.bulk is not None
    assert bulk.bulk.joined is not None
    columns = as_arrays(frame(ROWS, 1, ("x", "new", "ö", None)))
    np.testing.assert_allclose(bulk.score(columns), alone.score(columns), atol=1e-6)
    by_session = replace(bulk.bulk, joined=None)
    assert (bulk.score(columns) == by_session.score(columns)).all()


@pytest.mark.parametrize("scorer", [tree_scoring.FASTEST, tree_scoring.NumpyScorer])
@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_a_rows_answer_does_not_depend_on_how_many_come_with_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    estimator: str,
    task: Task,
    scorer: tree_scoring.Scorer,
):
    monkeypatch.setattr(bulk_onnx, "TreeScorer", partial(tree_scoring.TreeScorer, scorer=scorer))
    path = exported(tmp_path, estimator, task, derived=[])
    onnx_scorer = OnnxScorer(contract(task), path, bulk=True)
    alone = OnnxScorer(contract(task), path)
    columns = as_arrays(frame(ROWS, 1, ("x", "new", "ö", None)))
    columns[onnx_scorer.numeric[0]][:3] = [1e300, np.nan, -0.0]
    all_at_once = onnx_scorer.score(columns)
    for row in range(60):
        one = {name: values[row : row + 1] for name, values in columns.items()}
        numbers = [one[name].tolist()[0] for name in onnx_scorer.numeric]
        numbers = [None if value != value else value for value in numbers]
        texts = [one[name].tolist()[0] for name in onnx_scorer.textual]
        by_record = onnx_scorer.score_record(numbers, texts)
        assert by_record == onnx_scorer.score(one)[0].tolist()
        if scorer is tree_scoring.NumpyScorer:
            # Which takes as long for one row as for a hundred: few are left to ONNX Runtime.
            assert by_record == alone.score_record(numbers, texts)
        else:
            assert by_record == all_at_once[row].tolist()


@pytest.mark.parametrize(
    ("estimator", "task", "settings"),
    [
        ("logistic_regression", "binary", {}),
        ("ridge", "regression", {}),
        ("random_forest", "binary", {"n_estimators": 5}),
        (
            "hist_gradient_boosting",
            "binary",
            {"max_iter": 3, "max_leaf_nodes": 100, "min_samples_leaf": 2},
        ),
    ],
)
def test_what_has_no_small_trees_is_left_to_onnx_runtime(
    tmp_path: Path, estimator: str, task: Task, settings: dict[str, int]
):
    path = exported(tmp_path, estimator, task, **settings)
    assert OnnxScorer(contract(task), path, bulk=True).bulk is None


def test_a_forest_is_left_alone_before_its_nodes_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    path = exported(tmp_path, "random_forest", "binary", n_estimators=5)
    assert OnnxScorer(contract("binary"), path, bulk=True).bulk is None
    assert "leaves, the limit is 64" in caplog.text


def test_a_large_graph_is_not_even_read(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(bulk_onnx.LARGEST + 1)
    assert bulk_onnx.bulk_of(path, "probabilities", None) is None
    assert caplog.text == ""
    with path.open("wb") as file:
        file.truncate(100)
    assert bulk_onnx.bulk_of(path, "probabilities", None) is None
    assert "many rows are left to ONNX Runtime" in caplog.text


def test_trees_that_are_read_wrongly_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    path = exported(tmp_path, "hist_gradient_boosting", "binary")
    read = bulk_onnx._trees

    def wrongly(given: dict[str, Any], prefix: str) -> list[Tree]:
        trees = read(given, prefix)
        one = trees[3]
        trees[3] = replace(one, value=[one.value[0] + 1.0, *one.value[1:]])
        return trees

    monkeypatch.setattr(bulk_onnx, "_trees", wrongly)
    assert OnnxScorer(contract("binary"), path, bulk=True).bulk is None
    assert "differ from ONNX Runtime's" in caplog.text


def test_a_graph_that_is_not_understood_is_served_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = exported(tmp_path, "hist_gradient_boosting", "regression")
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "TreeEnsembleRegressor":
            node.attribute.append(onnx.helper.make_attribute("aggregate_function", "MAX"))
    onnx.save(model, path)
    caplog.set_level("INFO")
    scorer = OnnxScorer(contract("regression"), path, bulk=True)
    assert scorer.bulk is None
    assert "not summed" in caplog.text
    columns = as_arrays(frame(ROWS, 0, ("x",)))
    assert len(scorer.score(columns)) == ROWS
