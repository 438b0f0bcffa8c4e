"""Coded columns give the same numbers as text, for every estimator and both runtimes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from mlops_assets.domain.batch_rows import check_rows
from mlops_assets.domain.contract import Task
from mlops_assets.domain.encoded import EncodedPipeline
from mlops_assets.domain.features import as_arrays
from mlops_assets.domain.training import Trial, fit, outputs_of
from mlops_assets.stores.bundles import OnnxScorer
from mlops_assets.stores.encoded_onnx import EncodedOnnx
from mlops_assets.stores.onnx_export import to_onnx
from mlops_assets_tests.stores.test_onnx_export import (
    CASES,
    DERIVED,
    SETTINGS,
    contract,
    frame,
    target,
)


def arrow(data: Any) -> pa.RecordBatch:
    """The rows as a file has them: nulls, and text with its dictionary."""
    missing = data["kind"] == "__missing__"
    table = pa.RecordBatch.from_pandas(data, preserve_index=False)
    kinds = pa.array(data["kind"], mask=missing.to_numpy(), type=pa.string()).dictionary_encode()
    return table.set_column(table.schema.get_field_index("kind"), "kind", kinds)


@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_a_coded_batch_is_scored_like_its_text(estimator: str, task: Task, tmp_path: Path):
    train = frame(600, 0, ("x", "y", None))
    trial = Trial("t", estimator, SETTINGS[estimator])
    found = contract(task)
    model = fit(trial, found, DERIVED, train, target(train, task), seed=0)
    rows = frame(900, 1, ("x", "new", "ö", None))
    columns = check_rows(arrow(rows), found).columns
    expected = outputs_of(model, rows, task)
    exact = EncodedPipeline(model, found).score(columns)
    # A product of matrices may add up in another order when it has more rows.
    tolerance = 1e-12 if estimator in ("logistic_regression", "ridge") else 0.0
    np.testing.assert_allclose(exact, expected, rtol=tolerance)
    (tmp_path / "model.onnx").write_bytes(to_onnx(model, found))
    compiled = EncodedOnnx(found, tmp_path / "model.onnx").score(columns)
    served = OnnxScorer(found, tmp_path / "model.onnx")
    np.testing.assert_allclose(compiled, served.score(as_arrays(rows)), rtol=tolerance)
    # Nor does it matter how many rows are scored together.
    singly = [served.score(as_arrays(rows.iloc[[row]])) for row in range(50)]
    np.testing.assert_allclose(compiled[:50], np.concatenate(singly), rtol=tolerance)


def test_batches_with_other_dictionaries_are_encoded_by_their_own():
    train = frame(300, 0, ("x", "y", "z"))
    found = contract("regression")
    trial = Trial("t", "hist_gradient_boosting", {"max_iter": 5})
    model = fit(trial, found, [], train, target(train, "regression"), seed=0)
    scorer = EncodedPipeline(model, found)
    for seed, kinds in ((1, ("x", "y")), (2, ("y", "x")), (3, ("z", None)), (1, ("x", "y"))):
        rows = frame(100, seed, kinds)
        np.testing.assert_array_equal(
            scorer.score(check_rows(arrow(rows), found).columns),
            outputs_of(model, rows, "regression"),
        )


def test_a_pipeline_of_another_make_is_refused():
    with pytest.raises(ValueError, match="no step `features`"):
        EncodedPipeline(make_pipeline(LinearRegression()), contract("regression"))
