"""Real bundles: tiny pipelines, trained and compiled once per session."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.stores.bundles import write_manifest
from mlops_assets.stores.files import write_atomically

CONTRACT = Contract(
    model="flight_delay",
    task="binary",
    columns=(
        ContractColumn("distance", "number", nullable=False),
        ContractColumn("seats", "integer", nullable=True),
        ContractColumn("carrier", "category", nullable=False),
        ContractColumn("weekend", "boolean", nullable=False),
    ),
    classes=("on_time", "late"),
    entity="flight",
    event_time="departs",
    max_rows=100,
)
REGRESSION = Contract(
    model="demand",
    task="regression",
    columns=(
        ContractColumn("hour", "integer", nullable=False),
        ContractColumn("weather", "category", nullable=True),
    ),
    classes=(),
    entity="",
    event_time="",
    max_rows=10,
)


@dataclass(frozen=True)
class Built:
    """A sealed bundle and the pipeline it was made from."""

    folder: Path
    contract: Contract
    pipeline: Any


def records(rows: int, seed: int) -> list[dict[str, Any]]:
    """Good records of CONTRACT."""
    draw = np.random.default_rng(seed)
    return [
        {
            "distance": float(draw.uniform(10, 3000)),
            "seats": None if draw.random() < 0.2 else int(draw.integers(20, 400)),
            "carrier": str(draw.choice(["AA", "UA", "DL", "café"])),
            "weekend": bool(draw.random() < 0.3),
        }
        for _ in range(rows)
    ]


def frame(rows: list[dict[str, Any]], contract: Contract) -> Any:
    """The rows as the pipeline was trained on them."""
    import pandas as pd

    data = pd.DataFrame(rows, columns=[column.name for column in contract.columns])
    for column in contract.columns:
        if column.type == "category":
            data[column.name] = data[column.name].fillna("__missing__").astype(object)
        else:
            data[column.name] = data[column.name].astype(float)
    return data


def train(contract: Contract, rows: list[dict[str, Any]], y: Any, seed: int) -> Any:
    """A fitted pipeline: one-hot categories, other columns as they are, boosted trees or ridge."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    categories = [c.name for c in contract.columns if c.type == "category"]
    others = [c.name for c in contract.columns if c.type != "category"]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer([("c", encoder, categories), ("n", "passthrough", others)])
    model = (
        Ridge()
        if contract.task == "regression"
        else HistGradientBoostingClassifier(
            max_iter=20, max_leaf_nodes=7, early_stopping=False, random_state=seed
        )
    )
    return Pipeline([("prepare", prepare), ("model", model)]).fit(frame(rows, contract), y)


def seal(folder: Path, contract: Contract, pipeline: Any, runtime: str = "onnx") -> Built:
    """Write a whole bundle."""
    import skops.io
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

    folder.mkdir(parents=True)
    (folder / "contract.json").write_bytes(contract.to_json())
    (folder / "reference.json").write_bytes(b"{}")
    skops.io.dump(pipeline, folder / "model.skops")
    if runtime == "onnx":
        inputs = [
            (
                column.name,
                StringTensorType([None, 1])
                if column.type == "category"
                else DoubleTensorType([None, 1]),
            )
            for column in contract.columns
        ]
        options = None if contract.task == "regression" else {id(pipeline[-1]): {"zipmap": False}}
        graph = convert_sklearn(
            pipeline, initial_types=inputs, options=options, target_opset={"": 17, "ai.onnx.ml": 3}
        )
        (folder / "model.onnx").write_bytes(graph.SerializeToString())
    write_manifest(folder, runtime, {"rows": 0})  # type: ignore[arg-type]
    return Built(folder, contract, pipeline)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Bundles by name: two versions of a classifier, the first one as skops, and a regression."""
    root = tmp_path_factory.mktemp("bundles")
    rows = records(400, seed=1)
    signal = np.array([r["distance"] / 3000 + (r["carrier"] == "AA") for r in rows])
    noisy = signal + np.random.default_rng(2).normal(0, 0.3, len(rows)) > 0.8
    first = train(CONTRACT, rows, noisy.astype(int), seed=0)
    second = train(CONTRACT, rows, (signal > 1).astype(int), seed=1)
    hours = [{"hour": h % 24, "weather": [None, "rain", "sun"][h % 3]} for h in range(200)]
    demand = train(REGRESSION, hours, [h["hour"] * 10.0 for h in hours], seed=0)
    return {
        "1": seal(root / "1", CONTRACT, first),
        "2": seal(root / "2", CONTRACT, second),
        "skops": seal(root / "skops", CONTRACT, first, runtime="skops"),
        "demand": seal(root / "demand", REGRESSION, demand),
    }


@pytest.fixture(scope="session")
def bad_bundles(
    bundles: dict[str, Built], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Whole bundles of models that fail where the distance is below zero, and only there.

    `raises` raises an error, `nan` gives probabilities that are no number.
    """
    root = tmp_path_factory.mktemp("bad")
    return {
        "raises": _spoilt(bundles["2"].folder, root / "raises", _raise_below_zero),
        "nan": _spoilt(bundles["2"].folder, root / "nan", _nan_below_zero),
    }


def _spoilt(source: Path, folder: Path, spoil: Callable[[str, str], list[Any]]) -> Path:
    """A sealed copy of a bundle whose graph multiplies its output by what `spoil` adds to it."""
    import onnx

    shutil.copytree(source, folder)
    graph = onnx.load(folder / "model.onnx")
    for node in graph.graph.node:
        for index, name in enumerate(node.output):
            if name == "probabilities":
                node.output[index] = "good"
    distance = onnx.helper.make_node("Cast", ["distance"], ["d"], to=onnx.TensorProto.FLOAT)
    zero = onnx.helper.make_tensor("zero", onnx.TensorProto.FLOAT, [1], [0.0])
    graph.graph.initializer.append(zero)
    sound = onnx.helper.make_node("Add", ["good", "nothing"], ["probabilities"])
    graph.graph.node.extend([distance, *spoil("d", "nothing"), sound])
    onnx.checker.check_model(graph)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    (folder / "manifest.json").unlink()
    write_manifest(folder, "onnx", {"rows": 0})
    return folder


def _nan_below_zero(distance: str, zero: str) -> list[Any]:
    from onnx.helper import make_node

    return [make_node("Sqrt", [distance], ["root"]), make_node("Mul", ["root", "zero"], [zero])]


def _raise_below_zero(distance: str, zero: str) -> list[Any]:
    """Looks up the element before the first of a list, which is its end: -2 is too far."""
    from onnx import TensorProto
    from onnx.helper import make_node

    return [
        make_node("Min", [distance, "zero"], ["below"]),
        make_node("Cast", ["below"], ["place"], to=TensorProto.INT64),
        make_node("Gather", ["zero", "place"], [zero]),
    ]


def publish(pointer: Path, **models: tuple[str, Path]) -> None:
    """Write the pointer file as the follower does: model=(version, folder)."""
    state(pointer, **{name: asked(version, path) for name, (version, path) in models.items()})


def asked(version: str, folder: Path, **others: Any) -> dict[str, Any]:
    """An entry of the pointer file; `others` are its split, shadow and fallback."""
    times = {"since": "2026-01-01T00:00:00+00:00", "released_at": ""}
    return {"version": version, "path": str(folder), **times, **others}


def bundle(version: str, folder: Path, **others: Any) -> dict[str, Any]:
    """A version beside the champion, as the pointer file names it."""
    return {"version": version, "path": str(folder), **others}


def state(pointer: Path, **entries: dict[str, Any]) -> None:
    """Write the pointer file with these entries."""
    write_atomically(pointer, json.dumps({"generation": 1, "models": entries}).encode())
