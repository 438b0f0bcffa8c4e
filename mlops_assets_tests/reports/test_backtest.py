import re

import pytest

from mlops_assets.domain.evidence import RetrainPolicy
from mlops_assets.domain.governor import Limits
from mlops_assets.domain.policy_comparison import PolicyComparison, compare_policies
from mlops_assets.reports.backtest import (
    POLICY_HEADINGS,
    advice,
    backtest_html,
    backtest_png,
    policy_rows,
    price_headings,
    price_rows,
)
from mlops_assets_tests.domain.histories import MadeUp

EVIL = "<script>alert(1)</script> $x_1$"


def comparison(*names: str, grows: float = 0.2) -> PolicyComparison:
    policy = RetrainPolicy("schedule", 0, 4, 3, 0.5, 0, None)
    learner = MadeUp(lambda end, period: 1 + grows * (period - end), 12)
    return compare_policies(
        learner,
        [],
        dict.fromkeys(names, policy),
        Limits(cooldown=0),
        price=50.0,
        delay=0,
        model=EVIL,
    )


def test_the_tables_have_a_row_per_policy_and_the_three_references():
    found = comparison("one", "two")
    rows = policy_rows(found)
    assert [row[0] for row in rows] == ["one", "two", "never", "always", "best dates"]
    assert all(len(row) == len(POLICY_HEADINGS) for row in rows)
    assert rows[-1][-1] == "1.00"
    assert max(float(row[-1]) for row in rows[2:4]) == 0
    prices = price_rows(found)
    assert len(prices) == len(found.prices)
    assert all(len(row) == len(price_headings(found)) for row in prices)
    assert prices[2][0] == "50 (1 x)"


@pytest.mark.parametrize("names", [("one",), tuple(f"schedule:{n}" for n in range(1, 10))])
def test_any_number_of_policies_is_drawn(names: tuple[str, ...]):
    assert backtest_png(comparison(*names), "a title").startswith(b"\x89PNG")


def test_names_on_the_page_are_text_and_nothing_is_fetched():
    page = backtest_html(comparison(EVIL), EVIL)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "default-src 'none'" in page


def test_the_tie_price_is_told_where_there_is_one():
    assert "Below the tie price of" in advice(comparison("one"))
    assert "there is no tie price" in advice(comparison("one", grows=-0.05))
