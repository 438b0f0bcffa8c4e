import pytest

from mlops_assets.domain.wording import counted


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 periods"), (1, "1 period"), (2, "2 periods"), (11, "11 periods")]
)
def test_a_noun_is_in_the_singular_after_one_alone(number: int, told: str):
    assert counted(number) == told


def test_any_noun_can_be_counted():
    assert counted(3, "retrain") == "3 retrains"
