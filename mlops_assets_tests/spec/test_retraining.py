import pytest
from pydantic import ValidationError

from mlops_assets_tests.spec.examples import spec


@pytest.mark.parametrize(
    ("retraining", "periods"),
    [
        ({}, 0),
        ({"policy": "benefit"}, 0),
        ({"policy": "performance"}, 2),
        ({"policy": "schedule"}, 2),
        ({"policy": "benefit", "cooldown": 3}, 3),
        ({"policy": "drift", "cooldown": 0}, 0),
    ],
)
def test_a_cooldown_that_is_not_named_is_the_policys_own(retraining: dict, periods: int):
    found = spec(retraining=retraining).retraining
    assert found.cooldown_periods == found.limits.cooldown == periods


@pytest.mark.parametrize("price", [0, -1.0])
def test_a_retrain_that_costs_nothing_is_refused(price: float):
    with pytest.raises(ValidationError, match="price"):
        spec(retraining={"price": price})
