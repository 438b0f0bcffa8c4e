import pytest
from pydantic import ValidationError

from mlops_assets.domain.card import Notes, VersionFacts
from mlops_assets_tests.domain.cards import NOTES, facts


def test_facts_survive_being_written_and_read():
    found = facts()
    assert VersionFacts.from_json(found.to_json()) == found
    assert list(VersionFacts.from_json(found.to_json()).inputs) == ["zone", "weight"]


def test_what_are_no_facts_is_refused():
    with pytest.raises(ValidationError):
        VersionFacts.from_json('{"model": "parcels"}')


def test_notes_name_what_is_not_filled_in():
    assert NOTES.missing == ()
    assert Notes().missing == ("card.purpose", "owner", "card.limits")


def test_a_version_has_passed_when_all_gates_have():
    assert facts().passed
    assert facts().days == 376
