from mlops_assets.domain.card import Notes
from mlops_assets_tests.domain.cards import NOTES, facts


def test_notes_name_what_is_not_filled_in():
    assert NOTES.missing == ()
    assert Notes().missing == ("card.purpose", "owner", "card.limits")


def test_a_version_has_passed_when_all_gates_have():
    assert facts().passed
    assert facts().days == 376
