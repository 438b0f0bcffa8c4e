import pytest

from mlops_assets.domain.decay import LossSample
from mlops_assets.domain.price import default_price


def test_a_tenth_off_the_loss_pays_for_itself_in_a_period():
    assert default_price(LossSample(0.4, 1.0, 3000), 3) == pytest.approx(40)
