from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.features import model_frame
from mlops_assets.domain.training import Trial
from mlops_assets.domain.trial_scores import (
    Fold,
    Part,
    Recipe,
    fold_ends,
    is_hopeless,
    mean_scores,
    score,
)

COLUMNS = (ContractColumn("n", "number", nullable=False),)
CONTRACT = Contract("m", "regression", COLUMNS, (), "id", "at", 100)
NAN = float("nan")


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 6))
def test_folds_are_later_than_what_they_are_fitted_on_and_follow_each_other(
    periods: int, validation: int, folds: int
):
    if periods - validation * folds < 1:
        with pytest.raises(NotTrainableError, match=f"{periods} periods are too few"):
            fold_ends(periods, validation, folds)
        return
    ends = fold_ends(periods, validation, folds)
    assert len(ends) == folds
    assert ends[-1] == (periods - validation, periods)
    for fitted_on, end in ends:
        assert 1 <= fitted_on < end == fitted_on + validation
    for (_, end), (fitted_on, _) in pairwise(ends):
        assert end == fitted_on


def test_a_metric_counts_only_where_every_fold_defines_it():
    assert mean_scores([{"a": 1, "b": 2}, {"a": 3}]) == {"a": 2}


def test_a_trial_is_hopeless_below_the_median_of_those_before_it():
    before = [0.1, 0.2, 0.3, 0.4, NAN]
    assert is_hopeless(0.26, before, lower_is_better=True)
    assert not is_hopeless(0.24, before, lower_is_better=True)
    assert is_hopeless(0.24, before, lower_is_better=False)
    assert not is_hopeless(0.26, before, lower_is_better=False)
    assert is_hopeless(NAN, before, lower_is_better=True)
    assert not is_hopeless(0.9, before[1:], lower_is_better=True)


def fold() -> Fold:
    draw = np.random.default_rng(0)
    n = draw.normal(size=80)
    frame = model_frame({"n": n}, COLUMNS)
    part = Part(frame, 3 * n)
    return Fold(CONTRACT, part, Part(frame, 3 * n + 1, np.linspace(1, 2, 80)))


def test_a_trial_is_scored_on_the_later_rows_by_their_weight():
    found = score(Trial("r", "ridge", {"alpha": 1e-9}), fold(), Recipe((), 0, quantiles=(0.9,)))
    assert found["mae"] == pytest.approx(1)
    assert found["pinball_0.9"] == pytest.approx(0.9)


@pytest.mark.parametrize("params", [{"alfa": 1}, {"alpha": -1.0}])
def test_settings_that_the_estimator_refuses_are_told_with_the_trial(params: dict[str, Any]):
    with pytest.raises(NotTrainableError, match=r"the trial ridge odd cannot be fitted: .*al[fp]"):
        score(Trial("ridge odd", "ridge", params), fold(), Recipe((), 0))
