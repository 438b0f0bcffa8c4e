import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.errors import BundleError
from mlops_assets.domain.requests import RequestParser
from mlops_assets.stores.bundles import OnnxScorer, SkopsScorer, load_scorer, verify, write_manifest
from mlops_assets_tests.serving.conftest import (
    CONTRACT,
    Built,
    bundles,  # noqa: F401 - a fixture
    frame,
    records,
)


@pytest.fixture
def copy(bundles: dict[str, Built], tmp_path: Path) -> Path:  # noqa: F811
    return Path(shutil.copytree(bundles["1"].folder, tmp_path / "bundle"))


def test_both_runtimes_score_like_the_pipeline(bundles: dict[str, Built]):  # noqa: F811
    rows = records(200, seed=9)
    columns = RequestParser(CONTRACT).parse({"records": rows[:100]}).columns
    expected = bundles["1"].pipeline.predict_proba(frame(rows[:100], CONTRACT))
    compiled, fallback = load_scorer(bundles["1"].folder), load_scorer(bundles["skops"].folder)
    assert isinstance(compiled, OnnxScorer)
    assert isinstance(fallback, SkopsScorer)
    assert np.abs(compiled.score(columns) - expected).max() < 1e-5
    assert (fallback.score(columns) == expected).all()
    assert compiled.score(columns).dtype == np.float64


def test_a_regression_gives_one_value_per_row(bundles: dict[str, Built]):  # noqa: F811
    columns = {
        "hour": np.array([3.0, 20.0]),
        "weather": np.array(["sun", MISSING_CATEGORY], dtype=object),
    }
    output = load_scorer(bundles["demand"].folder).score(columns)
    assert output.shape == (2, 1)
    assert output[0, 0] < output[1, 0]


def test_a_sealed_bundle_verifies(copy: Path):
    manifest = verify(copy)
    assert manifest.runtime == "onnx"
    assert set(manifest.files) == {"contract.json", "model.onnx", "model.skops", "reference.json"}


@pytest.mark.parametrize("name", ["contract.json", "model.onnx", "model.skops", "reference.json"])
def test_a_file_with_one_changed_bit_is_refused(copy: Path, name: str):
    raw = bytearray((copy / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / name).write_bytes(raw)
    with pytest.raises(BundleError, match=f"{name} has sha256"):
        load_scorer(copy)


def test_a_missing_file_is_refused(copy: Path):
    (copy / "reference.json").unlink()
    with pytest.raises(BundleError, match=r"reference\.json is missing"):
        verify(copy)


def test_a_file_that_the_manifest_does_not_name_is_refused(copy: Path):
    (copy / "extra.py").write_text("")
    with pytest.raises(BundleError, match=r"extra\.py is not in its manifest"):
        verify(copy)


def test_links_and_folders_are_refused(copy: Path):
    (copy / "link").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="link is no plain file"):
        verify(copy)
    (copy / "link").unlink()
    (copy / "folder").mkdir()
    with pytest.raises(BundleError, match="folder is no plain file"):
        verify(copy)


@pytest.mark.parametrize("name", ["../contract.json", "/etc/passwd", "a/b", "..", "manifest.json"])
def test_a_manifest_that_points_outside_is_refused(copy: Path, name: str):
    path = copy / "manifest.json"
    content = json.loads(path.read_text())
    content["files"][name] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="no plain file of the bundle"):
        verify(copy)


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"runtime": "pickle"}, {"files": []}, {"parity": None}]
)
def test_a_manifest_of_another_kind_is_refused(copy: Path, change: dict[str, object]):
    path = copy / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError):
        verify(copy)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path):
    with pytest.raises(BundleError, match="cannot be read"):
        verify(tmp_path)
    with pytest.raises(BundleError, match="does not exist"):
        verify(tmp_path / "nothing")


def test_sealing_needs_the_files_of_the_runtime(copy: Path):
    (copy / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks model\.onnx"):
        write_manifest(copy, "onnx", {})


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/mlops-assets-was-here"),))


def test_a_pickle_in_the_place_of_a_model_is_refused_and_not_run(copy: Path):
    for name, runtime in (("model.skops", "skops"), ("model.onnx", "onnx")):
        (copy / name).write_bytes(pickle.dumps(Payload()))
        write_manifest(copy, runtime, {})  # type: ignore[arg-type]
        with pytest.raises(BundleError):
            load_scorer(copy)
    assert not Path("/tmp/mlops-assets-was-here").exists()


def test_a_type_outside_our_list_is_not_loaded(copy: Path):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(FunctionTransformer(func=records), copy / "model.skops")
    write_manifest(copy, "skops", {})
    with pytest.raises(BundleError, match="no pipeline that we trust"):
        load_scorer(copy)


def test_a_graph_that_does_not_fit_its_contract_is_refused(copy: Path):
    contract = json.loads((copy / "contract.json").read_text())
    contract["columns"][0]["name"] = "miles"
    (copy / "contract.json").write_text(json.dumps(contract))
    write_manifest(copy, "onnx", {})
    with pytest.raises(BundleError, match="disagree on"):
        load_scorer(copy)


def test_scoring_through_onnx_imports_neither_pandas_nor_sklearn(bundles: dict[str, Built]):  # noqa: F811
    code = (
        "import sys, pathlib\n"
        "from mlops_assets.stores.bundles import load_scorer\n"
        "from serving.loading import synthetic_row\n"
        "scorer = load_scorer(pathlib.Path(sys.argv[1]))\n"
        "scorer.score(synthetic_row(scorer.contract))\n"
        "print([m for m in ('pandas', 'sklearn', 'mlflow', 'dagster', 'evidently', 'ray')"
        " if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundles["1"].folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
