from pathlib import Path

import numpy as np
import pytest

from mlops_assets.assets.estimates import UNAVAILABLE, estimate_metadata, estimate_of
from mlops_assets.domain.contract import Contract, ContractColumn, Task
from mlops_assets.domain.estimation import estimate, fit_estimator
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.stores.bundles import ESTIMATOR

RNG = np.random.default_rng(0)
TOLD = RNG.beta(1, 3, 2_000)
Y, OUTPUTS = (RNG.random(2_000) < TOLD**1.5).astype(int), np.column_stack([1 - TOLD, TOLD])


def contract(task: Task) -> Contract:
    classes = () if task == "regression" else ("0", "1")
    columns = (ContractColumn("distance", "number", False),)
    return Contract("letters", task, columns, classes, "id", "at", 100)


def test_a_bundle_with_an_estimator_gives_a_calibrated_estimate(tmp_path: Path):
    estimator = fit_estimator("binary", Y, OUTPUTS)
    (tmp_path / ESTIMATOR).write_bytes(estimator.to_json())
    found = estimate_of(tmp_path, contract("binary"), OUTPUTS)
    assert found == estimate(estimator, OUTPUTS)
    assert found is not None
    assert found.loss == pytest.approx(row_losses("binary", Y, OUTPUTS).mean())


def test_an_older_bundle_takes_the_probabilities_as_they_were_told(tmp_path: Path):
    found = estimate_of(tmp_path, contract("binary"), OUTPUTS)
    assert found is not None
    assert not found.calibrated
    shown = estimate_metadata({}, "2026-01-01", found, None, 0.4)
    assert "(probabilities as told: the version has no estimator)" in str(shown["estimate"].value)


def test_an_older_bundle_of_a_regression_gives_none_and_says_so(tmp_path: Path):
    assert estimate_of(tmp_path, contract("regression"), OUTPUTS[:, :1]) is None
    assert estimate_metadata({}, "2026-01-01", None, None, 0.4) == {"estimate": UNAVAILABLE}


def test_the_error_on_past_matured_periods_stands_beside_the_estimate(tmp_path: Path):
    found = estimate_of(tmp_path, contract("binary"), OUTPUTS)
    reports = {
        f"2026-01-0{day}": {
            "judged": day != 2,
            "loss": 0.4 + day / 10,
            "estimate": {"loss": 0.5, "lower": 0.45, "upper": 0.55},
        }
        for day in (1, 2, 3, 4)
    }
    shown = estimate_metadata(reports, "2026-01-04", found, None, 0.4)
    # 0.5 and 0.7 were realised where 0.5 was estimated; the fourth is the period itself.
    assert shown["estimate_error"] == pytest.approx(0.1)
    text = str(shown["estimate"].value)
    assert "over the last 2 matured periods such estimates were off by 0.1000" in text
