from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pyarrow.parquet as pq
import pytest
import skops.io

from mlops_assets.domain.contract import Contract, ContractColumn, Task
from mlops_assets.domain.estimators import ESTIMATORS
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.training import Trial, fit, outputs_of
from mlops_assets.spec.derived import Derived
from mlops_assets.stores.bundles import load_pipeline
from mlops_assets.stores.onnx_export import to_onnx
from mlops_assets_tests.loop import SHIPPED, read_model

COLUMNS = (
    ContractColumn("hour", "integer", nullable=False),
    ContractColumn("size", "number", nullable=True),
    ContractColumn("weight", "number", nullable=True),
    ContractColumn("kind", "category", nullable=True),
    ContractColumn("open", "boolean", nullable=True),
)
DERIVED: list[dict[str, Any]] = [
    {"name": "a", "kind": "difference", "columns": ["size", "weight"]},
    {"name": "b", "kind": "ratio", "columns": ["size", "weight"]},
    {"name": "c", "kind": "product", "columns": ["size", "hour"]},
    {"name": "d", "kind": "log1p", "columns": ["weight"]},
    {"name": "e", "kind": "cyclical", "columns": ["hour"], "cycle": 24},
    {"name": "f", "kind": "sum", "columns": ["size", "weight", "hour"]},
    {"name": "g", "kind": "bins", "columns": ["size"], "edges": [5.1, 20.5, 100]},
    {"name": "h", "kind": "bins", "columns": ["weight"], "quantiles": 5},
    {"name": "i", "kind": "frequent", "columns": ["kind"], "min_share": 0.2},
    {"name": "j", "kind": "target_mean", "columns": ["kind"]},
]
SETTINGS: dict[str, dict[str, Any]] = {
    "logistic_regression": {},
    "ridge": {},
    "random_forest": {"n_estimators": 15},
    "hist_gradient_boosting": {"max_iter": 25},
    "lightgbm": {"n_estimators": 25},
    "xgboost": {"n_estimators": 25},
}
CASES: list[tuple[str, Task]] = [
    (name, task)
    for name, family in ESTIMATORS.items()
    for task in ("binary", "multiclass", "regression")
    if family.name_for(task)  # type: ignore[arg-type]
]


def contract(task: Task, columns: tuple[ContractColumn, ...] = COLUMNS) -> Contract:
    classes = {"binary": ("0", "1"), "multiclass": ("0", "1", "2"), "regression": ()}[task]
    return Contract("m", task, columns, classes, "id", "at", 100)


def frame(rows: int, seed: int, kinds: tuple[str | None, ...]) -> pd.DataFrame:
    """Hours put angles on multiples of pi; few distinct values put rows on thresholds."""
    draw = np.random.default_rng(seed)
    size = np.round(draw.lognormal(3, 1, rows), 1)
    weight = draw.integers(-2, 20, rows) / 10
    size[draw.random(rows) < 0.1] = np.nan
    weight[draw.random(rows) < 0.1] = np.nan
    return model_frame(
        {
            "hour": draw.integers(-48, 48, rows),
            "size": size,
            "weight": weight,
            "kind": draw.choice(np.array(kinds, dtype=object), rows),
            "open": draw.choice(np.array([True, False, None], dtype=object), rows),
        },
        COLUMNS,
    )


def target(data: pd.DataFrame, task: Task) -> np.ndarray:
    draw = np.random.default_rng(1)
    value = np.nan_to_num(data["size"] / 50) + np.sin(data["hour"] / 24 * 2 * np.pi)
    value = np.asarray(value + (data["kind"] == "x") + draw.normal(0, 0.3, len(data)))
    if task == "regression":
        return value
    return np.digitize(value, [0.6] if task == "binary" else [0.3, 1.3])


def run(graph: bytes, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    feed = {name: values.reshape(-1, 1) for name, values in columns.items()}
    outputs = session.run(None, feed)[-1]
    return np.asarray(outputs, dtype=np.float64)


@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_the_graph_gives_what_the_pipeline_gives(estimator: str, task: Task):
    train = frame(1500, 0, ("x", "y", None))
    model = fit(
        Trial("t", estimator, SETTINGS[estimator]),
        contract(task),
        DERIVED,
        train,
        target(train, task),
        seed=0,
    )
    # Rows that were trained on lie on the trees' thresholds; the others hold unknown kinds.
    rows = pd.concat([train, frame(1500, 1, ("x", "new", "ö", None))], ignore_index=True)
    expected = outputs_of(model, rows, task)
    found = run(to_onnx(model, contract(task)), as_arrays(rows))
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(found - expected).max() <= 1e-6 * scale
    assert np.ptp(expected[:, 0]) > 0.1


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("estimator", ["logistic_regression", "hist_gradient_boosting", "xgboost"])
def test_balanced_classes_are_told_with_their_own_probabilities(
    estimator: str, task: Task, tmp_path: Path
):
    train = frame(1500, 0, ("x", "y", None))
    y = target(train, task)
    trial = Trial("t", estimator, SETTINGS[estimator])
    model = fit(trial, contract(task), DERIVED, train, y, seed=0, balanced=True)
    expected = outputs_of(model, train, task)
    found = run(to_onnx(model, contract(task)), as_arrays(train))
    assert np.abs(found - expected).max() <= 2e-6
    assert np.abs(found.mean(axis=0) - np.bincount(y) / len(y)).max() < 0.05
    if estimator != "xgboost":
        skops.io.dump(model, tmp_path / "model.skops")
        again = load_pipeline(tmp_path / "model.skops")
        np.testing.assert_array_equal(outputs_of(again, train, task), expected)


def test_the_graph_names_its_inputs_and_outputs_as_serving_expects():
    train = frame(200, 0, ("x", "y"))
    for task, outputs in (("binary", ["label", "probabilities"]), ("regression", ["variable"])):
        model = fit(
            Trial("t", "hist_gradient_boosting", {"max_iter": 3}),
            contract(task),  # type: ignore[arg-type]
            DERIVED,
            train,
            target(train, task),  # type: ignore[arg-type]
            seed=0,
        )
        session = ort.InferenceSession(to_onnx(model, contract(task)))  # type: ignore[arg-type]
        inputs = {part.name: (part.type, part.shape) for part in session.get_inputs()}
        assert list(inputs) == [column.name for column in COLUMNS]
        assert inputs["size"] == ("tensor(double)", [None, 1])
        assert inputs["kind"] == ("tensor(string)", [None, 1])
        assert [part.name for part in session.get_outputs()] == outputs


@pytest.mark.parametrize(
    "estimator", ["random_forest", "hist_gradient_boosting", "lightgbm", "xgboost"]
)
def test_values_at_the_edge_of_float32_stay_on_their_side(estimator: str):
    columns = COLUMNS[1:2]
    draw = np.random.default_rng(0)
    # Neighbours in float64 that float32 cannot tell apart, and the next one that it can.
    base = draw.uniform(1, 2, 300)
    values = np.concatenate([base, np.nextafter(base, 3), np.nextafter(np.float32(base), 3)])
    train = model_frame({"size": values}, columns)
    y = draw.random(len(values)) < 0.5
    model = fit(
        Trial("t", estimator, SETTINGS[estimator]), contract("binary", columns), [], train, y, 0
    )
    found = run(to_onnx(model, contract("binary", columns)), as_arrays(train))
    assert np.abs(found - outputs_of(model, train, "binary")).max() <= 1e-6


@pytest.mark.parametrize("estimator", ["logistic_regression", "random_forest"])
def test_a_column_that_was_always_missing_is_no_obstacle(estimator: str):
    train = frame(300, 0, ("x", "y")).assign(weight=np.nan)
    y = target(train, "binary")
    model = fit(Trial("t", estimator, SETTINGS[estimator]), contract("binary"), [], train, y, 0)
    found = run(to_onnx(model, contract("binary")), as_arrays(train))
    assert np.abs(found - outputs_of(model, train, "binary")).max() <= 1e-6


@pytest.mark.parametrize("names", [("temp °C", "a-b"), ("a_b", "a-b"), ("float32", "input")])
def test_columns_may_have_any_name(names: tuple[str, str]):
    columns = tuple(ContractColumn(name, "number", nullable=False) for name in names)
    draw = np.random.default_rng(0)
    train = model_frame({name: draw.normal(size=200) for name in names}, columns)
    y = (train[names[0]] > 0).to_numpy().astype(int)
    trial = Trial("t", "hist_gradient_boosting", {"max_iter": 5})
    model = fit(trial, contract("binary", columns), [], train, y, 0)
    found = run(to_onnx(model, contract("binary", columns)), as_arrays(train))
    assert np.abs(found - outputs_of(model, train, "binary")).max() <= 1e-6


def test_a_column_with_the_name_of_an_output_is_refused():
    columns = (ContractColumn("probabilities", "number", nullable=False),)
    train = model_frame({"probabilities": np.arange(100.0)}, columns)
    trial = Trial("t", "logistic_regression", {})
    model = fit(trial, contract("binary", columns), [], train, np.arange(100) % 2, 0)
    with pytest.raises(ValueError, match="'probabilities' has the name of a step"):
        to_onnx(model, contract("binary", columns))


FLIGHTS: list[dict[str, Any]] = [
    {"name": "total", "kind": "sum", "columns": ["temp", "dewp", "humid"]},
    {"name": "far", "kind": "bins", "columns": ["distance"], "edges": [200, 500, 1000, 2475]},
    {"name": "windy", "kind": "bins", "columns": ["wind_speed"], "quantiles": 8},
    {"name": "place", "kind": "frequent", "columns": ["dest"], "min_share": 0.02},
    {"name": "airline", "kind": "target_mean", "columns": ["carrier"]},
]


@pytest.mark.parametrize(
    "estimator", ["logistic_regression", "random_forest", "hist_gradient_boosting"]
)
def test_twenty_thousand_flights_are_served_as_trained(estimator: str, tmp_path: Path):
    spec = read_model(SHIPPED / "flight_delay").spec
    rows = pq.read_table(SHIPPED / "../data/flights_2013.parquet").to_pandas()
    rows = rows[rows["arrival_delay_minutes"].notna()].sample(40_000, random_state=0)
    found = spec.contract("flight_delay", ("0", "1"))
    data = model_frame(rows, found.columns)
    late = (rows["arrival_delay_minutes"] > 15).to_numpy().astype(int)
    rules = [Derived.model_validate(rule).as_step() for rule in FLIGHTS]
    trial = Trial("t", estimator, SETTINGS[estimator])
    model = fit(trial, found, rules, data[:20_000], late[:20_000], seed=0)
    expected = outputs_of(model, data[20_000:], "binary")
    served = run(to_onnx(model, found), as_arrays(data[20_000:]))
    assert np.abs(served - expected).max() <= 1e-6
    # The fallback reads the same steps from a file in which nothing is pickled.
    skops.io.dump(model, tmp_path / "model.skops")
    again = load_pipeline(tmp_path / "model.skops")
    np.testing.assert_array_equal(outputs_of(again, data[20_000:], "binary"), expected)
