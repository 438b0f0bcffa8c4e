from pathlib import Path

import numpy as np

from mlops_assets.cli.careless import register_broken, spoiled
from mlops_assets.domain.contract import Contract
from mlops_assets.stores.bundles import ONNX_MODEL, OnnxScorer, load_scorer
from mlops_assets.stores.registry import CHAMPION
from mlops_assets_tests.loop import History, Loop
from mlops_assets_tests.serving.conftest import Built, bundles  # noqa: F401


def columns(distances: list[float]) -> dict[str, np.ndarray]:
    rows = len(distances)
    return {
        "distance": np.array(distances),
        "seats": np.full(rows, 100.0),
        "carrier": np.array(["AA"] * rows, dtype=object),
        "weekend": np.zeros(rows),
    }


def test_a_spoiled_model_fails_on_the_rows_above_the_limit_and_on_no_others(
    bundles: dict[str, Built],  # noqa: F811
    tmp_path: Path,
):
    sound = bundles["1"].folder
    copy = tmp_path / "bundle"
    copy.mkdir()
    (copy / "contract.json").write_bytes((sound / "contract.json").read_bytes())
    graph = spoiled((sound / ONNX_MODEL).read_bytes(), "distance", 1000.0)
    (copy / ONNX_MODEL).write_bytes(graph)
    contract = Contract.from_json((copy / "contract.json").read_bytes())
    rows = columns([500.0, 999.0, 1000.0, 1000.5, 2500.0])
    outputs = OnnxScorer(contract, copy / ONNX_MODEL).score(rows)
    assert np.isnan(outputs).all(axis=1).tolist() == [False, False, False, True, True]
    expected = load_scorer(sound).score(rows)
    assert np.array_equal(outputs[:3], expected[:3])


def test_the_broken_version_is_registered_and_moves_no_alias(
    loop: Loop, flights: History, tmp_path: Path
):
    registry = loop.stores.registry
    before = registry.alias("flight_delay", CHAMPION)
    assert before is not None
    broken = register_broken(registry, "flight_delay", before.version, tmp_path / "cache")
    after = registry.alias("flight_delay", CHAMPION)
    assert after is not None
    assert after.version == before.version != broken
    assert load_scorer(registry.cached_bundle("flight_delay", broken, tmp_path / "cache"))
    assert not registry.version("flight_delay", broken).passed_gates
