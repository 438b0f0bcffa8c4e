from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.removed import LOOKS, look


def after(*looks: set[str]) -> list[tuple[str, ...]]:
    """What each look found removed."""
    known: dict[str, int] = {}
    found = []
    for there in looks:
        seen = look(known, there, is_same=True)
        known = seen.missing
        found.append(seen.removed)
    return found


def test_a_model_that_is_missing_long_enough_is_told_once():
    looks = [{"a", "b"}] + [{"a"}] * (LOOKS + 2)
    assert after(*looks) == [(), *[()] * (LOOKS - 1), ("b",), (), ()]


def test_a_model_that_comes_back_in_time_was_never_away():
    looks = [{"a", "b"}, *[{"a"}] * (LOOKS - 1), {"a", "b"}, *[{"a"}] * (LOOKS - 1)]
    assert after(*looks) == [()] * len(looks)


def test_a_model_that_was_never_seen_cannot_be_removed():
    assert look({}, {"a"}, is_same=False).missing == {"a": 0}


def test_the_last_model_counts_where_the_folder_of_all_is_still_the_same():
    assert after({"a"}, *[set[str]()] * LOOKS) == [*[()] * LOOKS, ("a",)]


@given(st.dictionaries(st.text(max_size=3), st.integers(0, LOOKS - 1)))
def test_folders_that_are_all_away_with_what_held_them_prove_nothing(before: dict[str, int]):
    found = look(before, (), is_same=False)
    assert (found.missing, found.removed) == (before, ())
