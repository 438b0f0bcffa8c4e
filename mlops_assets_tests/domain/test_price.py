import pytest

from mlops_assets.domain.price import default_price


def test_a_tenth_off_the_loss_pays_for_itself_in_a_period():
    assert default_price(0.4, 1000) == pytest.approx(40)
