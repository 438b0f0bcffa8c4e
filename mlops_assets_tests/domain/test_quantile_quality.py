import numpy as np
import pytest

from mlops_assets.domain.evaluation import pinball_losses
from mlops_assets.domain.quantile_quality import quantile_quality


def test_each_quantile_has_its_loss_and_that_of_the_training_rows_quantile():
    fitted, y = np.arange(11.0), np.array([4.0, 8.0])
    outputs = np.array([[4.0], [6.0]])
    median, high = quantile_quality(fitted, y, outputs, (0.5, 0.9))
    assert (median.quantile, high.quantile) == (0.5, 0.9)
    assert median.loss == pytest.approx(0.5)
    # The guess of 5 is 1 above and 3 below.
    assert median.guess == pytest.approx(1.0)
    assert high.loss == pytest.approx(0.9)
    assert high.guess == pytest.approx(pinball_losses(y, outputs * 0 + 9, (0.9,))["pinball_0.9"])


def test_rows_count_by_their_weight():
    y, outputs = np.array([0.0, 10.0]), np.zeros((2, 1))
    (one,) = quantile_quality(y, y, outputs, (0.5,), np.array([3.0, 1.0]))
    assert one.loss == pytest.approx(0.25 * 5)


def test_without_quantiles_there_is_nothing():
    assert quantile_quality(np.ones(1), np.ones(1), np.ones((1, 1)), ()) == ()
