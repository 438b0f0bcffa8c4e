import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from mlops_assets.domain.evaluation import calibration_error
from mlops_assets.domain.imbalance import BalancedClasses, fitted_estimator


def rare(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two columns, the class of each row (one in fifty is 1), and the probability of it."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, 2))
    chance = 1 / (1 + np.exp(-(x[:, 0] + 0.5 * x[:, 1] - 4.5)))
    return x, (draw.random(rows) < chance).astype(int), chance


def test_balanced_classes_tell_the_probabilities_of_the_rows_as_they_are():
    x, y, chance = rare(40_000, 0)
    balanced = BalancedClasses(LogisticRegression()).fit(x, y)
    told = balanced.predict_proba(x)
    assert told.sum(axis=1) == pytest.approx(1)
    assert told[:, 1].mean() == pytest.approx(y.mean(), rel=0.1)
    assert np.abs(told[:, 1] - chance).max() < 0.05
    assert calibration_error(y, told) < 0.005
    # What the estimator itself says is about another world.
    raw = balanced.estimator_.predict_proba(x)
    assert calibration_error(y, raw) > 0.2
    same = LogisticRegression(class_weight="balanced").fit(x, y)
    np.testing.assert_allclose(raw, same.predict_proba(x), atol=1e-3)


def test_trees_stay_calibrated_too():
    x, y, _ = rare(20_000, 1)
    new, truth, _ = rare(20_000, 2)
    balanced = BalancedClasses(HistGradientBoostingClassifier(max_iter=30, random_state=0))
    told = balanced.fit(x, y).predict_proba(new)
    assert told[:, 1].mean() == pytest.approx(truth.mean(), rel=0.2)
    assert calibration_error(truth, told) < 0.01


def test_several_classes_and_weights_count_together():
    draw = np.random.default_rng(0)
    y = draw.choice(3, 3_000, p=[0.8, 0.15, 0.05])
    x = draw.normal(size=(3_000, 1)) + y[:, None]
    times = draw.integers(1, 4, 3_000)
    again = np.repeat(np.arange(3_000), times)
    weighted = BalancedClasses(LogisticRegression()).fit(x, y, sample_weight=times)
    repeated = BalancedClasses(LogisticRegression()).fit(x[again], y[again])
    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), atol=1e-3)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_)
    shares = np.bincount(y[again]) / len(again)
    np.testing.assert_allclose(weighted.scale_, 3 * shares)
    assert set(weighted.predict(x)) <= {0, 1, 2}


def test_the_estimator_is_found_behind_what_balances_it():
    x, y, _ = rare(500, 0)
    plain = Pipeline([("model", LogisticRegression())]).fit(x, y)
    balanced = Pipeline([("model", BalancedClasses(LogisticRegression()))]).fit(x, y)
    for one in (plain, balanced):
        assert isinstance(fitted_estimator(one), LogisticRegression)
