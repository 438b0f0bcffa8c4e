"""What the graphs of boosted trees do at the edges; that they follow the pipelines row by row is
in test_onnx_export."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.training import Trial, fit, outputs_of
from mlops_assets.stores.boosted_trees import forest_of
from mlops_assets.stores.onnx_export import to_onnx

COLUMNS = (
    ContractColumn("x", "number", nullable=True),
    ContractColumn("z", "number", nullable=True),
)


def trained(estimator: str, task: Any, params: dict[str, Any], rows: Any, y: np.ndarray) -> Any:
    classes = () if task == "regression" else ("0", "1")
    contract = Contract("m", task, COLUMNS, classes, "id", "at", 100)
    return contract, fit(Trial("t", estimator, params), contract, [], rows, y, seed=0)


def difference(contract: Contract, model: Any, rows: Any) -> float:
    """Largest difference between graph and pipeline, as a share of the outputs' size."""
    session = ort.InferenceSession(to_onnx(model, contract), providers=["CPUExecutionProvider"])
    feed = {name: values.reshape(-1, 1) for name, values in as_arrays(rows).items()}
    found = session.run(None, feed)[-1]
    expected = outputs_of(model, rows, contract.task)
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).mean()))


def grid(rows: int, *, missing: float) -> Any:
    """Few values on a coarse grid around 0, so that many rows lie on thresholds."""
    draw = np.random.default_rng(0)
    x = draw.integers(-3, 4, rows).astype(float)
    x[draw.random(rows) < missing] = np.nan
    return model_frame({"x": x, "z": draw.integers(-9, 9, rows) / 7}, COLUMNS)


@pytest.mark.parametrize("estimator", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("shift", [-2.5, 0.0, 2.5])
def test_a_value_that_was_never_missing_in_training_may_be_missing_later(
    estimator: str, shift: float
):
    rows = grid(800, missing=0).assign(x=lambda frame: frame["x"] + shift)
    y = (rows["x"] + rows["z"] > shift).to_numpy().astype(int)
    contract, model = trained(estimator, "binary", {"n_estimators": 20}, rows, y)
    later = grid(500, missing=0.5)
    later.loc[::7, "z"] = np.nan
    assert difference(contract, model, later) <= 1e-6


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("lightgbm", {"objective": "poisson"}),
        ("lightgbm", {"objective": "quantile", "alpha": 0.8}),
        ("lightgbm", {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
        ("lightgbm", {"boosting_type": "dart"}),
        ("xgboost", {"objective": "count:poisson"}),
        ("xgboost", {"objective": "reg:tweedie"}),
        ("xgboost", {"num_parallel_tree": 3, "subsample": 0.5}),
    ],
)
def test_objectives_and_kinds_of_boosting_convert(estimator: str, params: dict[str, Any]):
    rows = grid(800, missing=0.2)
    y = np.exp(np.nan_to_num(rows["x"].to_numpy()) / 2) + rows["z"].to_numpy() + 2
    contract, model = trained(estimator, "regression", {"n_estimators": 15, **params}, rows, y)
    assert difference(contract, model, rows) <= 2e-6


def test_a_stretched_sigmoid_converts():
    rows = grid(800, missing=0.2)
    y = (np.nan_to_num(rows["x"]) > 0).astype(int)
    contract, model = trained("lightgbm", "binary", {"n_estimators": 9, "sigmoid": 2.5}, rows, y)
    assert difference(contract, model, rows) <= 1e-6


@pytest.mark.parametrize(
    ("estimator", "params", "why"),
    [
        ("lightgbm", {"linear_tree": True}, "linear_tree"),
        ("lightgbm", {"reg_sqrt": True}, "sqrt"),
        ("lightgbm", {"zero_as_missing": True}, "category or zero"),
        ("xgboost", {"booster": "dart"}, "dart"),
        ("xgboost", {"booster": "gblinear"}, "gblinear"),
        ("xgboost", {"missing": -1.0}, "`missing`"),
        ("xgboost", {"objective": "reg:logistic"}, "reg:logistic"),
    ],
)
def test_what_has_no_equal_is_refused_by_name(estimator: str, params: dict[str, Any], why: str):
    rows = grid(300, missing=0)
    y = np.linspace(0, 1, len(rows))
    _, model = trained(estimator, "regression", {"n_estimators": 3, **params}, rows, y)
    with pytest.raises(NotImplementedError, match=why):
        forest_of(model.named_steps["model"])
