"""Rows that count by a weight, and a rare class, from the rows to the report."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.features import as_arrays
from mlops_assets.stores import monitoring, training_rows
from mlops_assets.stores.bundles import load_scorer
from mlops_assets_tests.loop import History, Loop, checks, errors

DAY = "2026-01-09"


@pytest.fixture(scope="module")
def insured(loop: Loop) -> History:
    """Parcels that count by what they are insured for, with balanced classes: one version."""
    return loop.history("insured", "2026-01-11", "2026-01-01", "2026-01-08")


@pytest.fixture(scope="module")
def closed(loop: Loop, insured: History) -> Any:
    """A day that was served and closed."""
    loop.serve("insured", DAY, loop.requests("insured", DAY))
    loop.at("2026-01-14")
    result = loop.run("insured__close", DAY)
    assert result.success, errors(result)
    return loop.materialization("insured", "performance_report", DAY).metadata


def test_a_row_without_a_usable_weight_is_set_apart_with_the_reason(loop: Loop, insured: History):
    lake = loop.stores.lake
    rejected = lake.read("insured", "rejected").to_pandas()
    assert set(rejected["reasons"]) == {"value: the weight 'nan' is no number above 0"}
    assert 0 < len(rejected) < 20
    features = lake.read("insured", "features").to_pandas()
    assert features["row_weight"].gt(0).all()


def test_the_weight_is_no_input(loop: Loop, insured: History):
    bundle = loop.stores.registry.cached_bundle("insured", "1", loop.stores.bundles)
    contract = Contract.from_json((bundle / "contract.json").read_bytes())
    assert [column.name for column in contract.columns] == ["zone", "weight"]


def test_holdout_metrics_are_weighted_and_the_probabilities_are_those_of_the_rows(
    loop: Loop, insured: History
):
    model, stores = loop.model("insured"), loop.stores
    shown = loop.materialization("insured", "challenger").metadata
    manifest = training_rows.load("insured", stores.lake, str(shown["training_set"].value))
    rows = training_rows.read(model, stores.lake, manifest, manifest.split.holdout, ("0", "1"))
    scorer = load_scorer(stores.registry.cached_bundle("insured", "1", stores.bundles))
    p = scorer.score(as_arrays(rows.frame))
    weighed: dict[str, Any] = {"sample_weight": rows.weights}
    assert rows.weights is not None
    assert np.ptp(rows.weights) > 1
    expected = log_loss(rows.y, p / p.sum(axis=1, keepdims=True), **weighed)
    assert shown["holdout_log_loss"].value == pytest.approx(expected, rel=1e-4)
    auc = roc_auc_score(rows.y, p[:, 1], **weighed)
    assert shown["holdout_roc_auc"].value == pytest.approx(auc, abs=1e-4)
    accuracy = accuracy_score(rows.y, p.argmax(axis=1), **weighed)
    assert shown["holdout_accuracy"].value == pytest.approx(accuracy, abs=1e-3)
    assert 0.03 < rows.y.mean() < 0.2
    # The rare class is told as often as it happens, though it was learned as if it were frequent.
    share = np.average(rows.y, weights=rows.weights)
    assert 0.03 < share < 0.4
    assert np.average(p[:, 1], weights=rows.weights) == pytest.approx(share, rel=0.25)
    assert shown["runtime"].value == "onnx"
    assert "expected calibration error" in str(checks(insured.train)["calibrated"].description)


def test_the_report_on_what_was_served_weighs_its_rows(loop: Loop, closed: Any):
    served = monitoring.predictions_of(loop.model("insured"), loop.stores.lake, DAY)
    source = pq.read_table(loop.models / "insured" / "rows.parquet").to_pandas()
    source = source.set_index(source["parcel"].astype(str)).loc[served["entity"]]
    known = source["arrived_at"] <= pd.Timestamp("2026-01-14", tz="UTC")
    usable = (known & source["value"].notna()).to_numpy()
    y = (source["hours"][usable] > loop.model("insured").spec.label.above).astype(int)
    p = served[["p_0", "p_1"]].to_numpy()[usable]
    losses = -np.log(p[np.arange(len(y)), y])
    value = source["value"].to_numpy()[usable]
    assert closed["labelled"].value == usable.sum()
    assert closed["loss"].value == pytest.approx(np.average(losses, weights=value))
    assert closed["loss"].value != pytest.approx(losses.mean(), rel=1e-3)
    assert closed["log_loss"].value == pytest.approx(closed["loss"].value)
