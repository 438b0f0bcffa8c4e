import pytest

from mlops_assets.domain.card import Verdict
from mlops_assets.domain.card_text import (
    count,
    first_part,
    gates_in_short,
    metric_name,
    number,
    sentence,
    written,
)
from mlops_assets.domain.document import Bullets, Paragraph
from mlops_assets_tests.domain.cards import facts


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.51234, "0.512"),
        (-0.0402, "-0.0402"),
        (34.561, "34.56"),
        (12345.6, "12,346"),
        (1956, "1956"),
        (0, "0"),
    ],
)
def test_numbers_have_the_digits_that_count(value: float, shown: str):
    assert number(value) == shown


def test_words_are_as_people_write_them():
    assert metric_name("roc_auc") == "area under the ROC curve"
    assert metric_name("accuracy") == "accuracy"
    assert (count(1, "day"), count(1200, "day")) == ("1 day", "1,200 days")
    assert (sentence("a"), sentence("a?"), sentence(" ")) == ("a.", "a?", "")
    assert first_part("harm: loss 0.7; it pays; now") == "harm: loss 0.7"


def test_what_people_did_not_write_names_its_place():
    assert written((), "card.limits") == Paragraph("Not filled in (card.limits in defs.yaml).")
    assert written(("",), "card.purpose") == Paragraph("Not filled in (card.purpose in defs.yaml).")
    assert written(("one",), "x") == Paragraph("one.")
    assert written(("one", "two"), "x") == Bullets(("one", "two"))


def test_failed_gates_are_named():
    assert gates_in_short(facts()) == "Passed all 2 release gates."
    failed = facts(gates=(Verdict("calibrated", False, "off"), Verdict("documented", True, "")))
    assert "Failed 1 of 2 release gates (calibrated)" in gates_in_short(failed)
