from dataclasses import replace

import numpy as np
import pytest

from mlops_assets.domain.lookahead import Outlook, plan
from mlops_assets.reports.plots import expected_losses, png
from mlops_assets_tests.reports.pictures import assert_has_content

AGED = Outlook(
    version="1",
    age=6,
    live_rows=4_000,
    fresh_rows=10_000,
    rows_per_period=1_000,
    drift=0.01,
    growth=50,
    excess=0.002,
    delay=2,
    window=None,
)


def test_a_retrain_that_pays_is_drawn_with_what_it_saves():
    worth = plan(AGED, price=20, periods=30)
    assert worth.pays
    figure = expected_losses(worth)
    assert_has_content(png(figure))
    assert "pays: saves" in figure.get_suptitle()
    live, fresh = (line.get_ydata() for line in figure.axes[0].lines)
    # What lies between both curves in the first period is the benefit per row.
    assert live[0] - fresh[0] == pytest.approx(AGED.benefit)
    assert (np.diff(live) > 0).all()


def test_a_retrain_that_pays_later_is_drawn_with_its_date():
    worth = plan(replace(AGED, age=3, excess=0.0), price=60, periods=30)
    assert not worth.pays
    assert worth.wait is not None
    figure = expected_losses(worth)
    assert_has_content(png(figure))
    assert f"perhaps in {worth.wait} periods" in figure.get_suptitle()
    assert figure.axes[0].lines[-1].get_xdata()[0] == worth.wait + 0.5


def test_without_a_date_in_sight_the_picture_says_so():
    worth = plan(replace(AGED, drift=0.0, excess=0.0, growth=0.0), price=60, periods=30)
    assert worth.wait is None
    figure = expected_losses(worth)
    assert_has_content(png(figure))
    assert "no date in sight" in figure.get_suptitle()
