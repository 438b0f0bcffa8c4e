from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from mlops_assets.assets.judgement import champion_on, seal_bundle
from mlops_assets.domain.errors import BundleError
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.training import Trial, fit, outputs_of
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.bundles import load_scorer, verify
from mlops_assets.stores.training_rows import Rows
from mlops_assets_tests.loop import History, Loop, add_parcels, errors, parcel_spec
from mlops_assets_tests.loop import parcels as parcel_rows

LINEAR_TREES = {"n_estimators": 5, "linear_tree": True}


def seal(folder: Path, estimator: str, params: dict[str, Any]) -> tuple[Any, Any, Rows]:
    """Train on parcels and seal the bundle: what sealing returned, the pipeline, the holdout."""
    folder.mkdir()
    model = Model("parcels", ModelSpec.model_validate(parcel_spec()), folder)
    contract = model.spec.contract("parcels", ("0", "1"))
    rows = parcel_rows(2).to_pandas()
    frame = model_frame(rows, contract.columns)
    y = (rows["hours"] > 24).to_numpy().astype(int)
    pipeline = fit(Trial("t", estimator, params), contract, [], frame, y, seed=0)
    holdout = Rows(frame=frame, y=y, classes=("0", "1"), blocks=np.zeros(len(y), dtype=int))
    outputs = outputs_of(pipeline, frame, "binary")
    return seal_bundle(folder, model, contract, pipeline, holdout, outputs, {}), pipeline, holdout


@pytest.mark.parametrize("estimator", ["lightgbm", "xgboost"])
def test_boosted_trees_are_served_through_onnx_without_a_warning(tmp_path: Path, estimator: str):
    (runtime, parity, warning), _, _ = seal(tmp_path / "b", estimator, {"n_estimators": 20})
    assert (runtime, warning) == ("onnx", "")
    assert parity.share_within == 1.0


def test_what_does_not_convert_is_served_through_skops_with_a_warning(tmp_path: Path):
    (runtime, parity, warning), pipeline, holdout = seal(tmp_path / "b", "lightgbm", LINEAR_TREES)
    assert runtime == "skops"
    assert parity.holds
    assert "many times slower" in warning
    assert "linear_tree=True has no equal in ONNX" in warning
    assert "linear_tree" in verify(tmp_path / "b").parity["onnx"]
    served = load_scorer(tmp_path / "b").score(as_arrays(holdout.frame))
    np.testing.assert_array_equal(served, outputs_of(pipeline, holdout.frame, "binary"))


def test_an_xgboost_model_that_does_not_convert_is_refused_with_the_way_out(tmp_path: Path):
    with pytest.raises(BundleError, match=r"(?s)dart.*is not converted.*cannot be checked"):
        seal(tmp_path / "b", "xgboost", {"n_estimators": 3, "booster": "dart"})


def test_the_warning_is_in_the_version_and_in_the_release_record(loop: Loop, tmp_path: Path):
    training = {
        "window": {"min": 3},
        "validation": 1,
        "holdout": 2,
        "candidates": [{"estimator": "lightgbm", "params": LINEAR_TREES}],
    }
    add_parcels(tmp_path / "models", "slow_parcels", days=8, training=training)
    definitions = loop.load(tmp_path / "models")
    loop.at("2026-01-11")
    for job, periods in (("ingest", ("2026-01-01", "2026-01-07")), ("train", ())):
        result = loop.run(f"slow_parcels__{job}", *periods, definitions=definitions)
        assert result.success, errors(result)
    version = loop.stores.registry.version("slow_parcels", "1")
    assert version.tags["runtime"] == "skops"
    (record,) = loop.stores.releases.history("slow_parcels")
    assert "linear_tree=True" in record.evidence_values["warning"]
    shown = loop.materialization("slow_parcels", "challenger").metadata["warning"]
    assert isinstance(shown, dg.TextMetadataValue)
    assert shown.text == version.tags["warning"]


def test_a_champion_is_compared_also_where_the_challenger_sees_more(loop: Loop, parcels: History):
    rows = parcel_rows(2).to_pandas().assign(speed=1.0)

    def champion(**columns: Any) -> Any:
        spec = ModelSpec.model_validate(parcel_spec(columns=columns))
        frame = model_frame(rows, spec.contract("parcels", ()).columns)
        y = (rows["hours"] > 24).to_numpy().astype(int)
        holdout = Rows(frame=frame, y=y, classes=("0", "1"), blocks=np.zeros(len(y), dtype=int))
        return champion_on(Model("parcels", spec, loop.models), loop.stores, holdout)

    same = champion(zone="category", weight="number")
    more = champion(speed="number", zone="category", weight="number?")
    assert same.version == more.version == loop.alias("parcels")
    np.testing.assert_array_equal(more.losses, same.losses)
    less = champion(zone="category", weight="integer")
    assert less.losses is None
    told = f"not compared: the champion, version {same.version}, needs weight, which defs.yaml"
    assert less.absent.startswith(told)
