import json
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.split import (
    Arm,
    Split,
    split_of_json,
    split_of_words,
    variant_of,
)

KEYS = [f"subject {number}" for number in range(4000)]
percent = st.integers(1, 100).map(float)
names = st.lists(st.sampled_from(["a", "b", "c", "5", "challenger"]), unique=True, max_size=4)


@st.composite
def weights(draw: st.DrawFn, max_size: int = 4) -> list[tuple[str, float]]:
    found, left = [], 100
    for name in draw(names)[:max_size]:
        if left:
            weight = draw(st.integers(1, left))
            left -= weight
            found.append((name, float(weight)))
    return found


def shares(given: list[tuple[str, float]], model: str = "m") -> Counter[str]:
    return Counter(variant_of(key, model, given) for key in KEYS)


@given(weights())
def test_the_shares_come_out(given_weights: list[tuple[str, float]]):
    found = shares(given_weights)
    assert set(found) <= {name for name, _ in given_weights} | {"champion"}
    for name, weight in given_weights:
        # Five standard deviations of a share of 4,000 independent subjects.
        share = weight / 100
        assert abs(found[name] / len(KEYS) - share) <= 5 * (share * (1 - share) / len(KEYS)) ** 0.5


@given(st.text(), weights())
@example("\ud800", [("a", 50.0)])
def test_a_subject_always_meets_the_same_variant(key: str, given_weights: list[tuple[str, float]]):
    assert variant_of(key, "m", given_weights) == variant_of(key, "m", tuple(given_weights))


def test_the_hash_stays_what_it_is_from_one_version_of_this_project_to_the_next():
    drawn = [variant_of(key, "flight_delay", [("challenger", 50.0)]) for key in "abcdefgh"]
    assert "".join("x" if name == "challenger" else "-" for name in drawn) == "-xxx--xx"


@given(weights(max_size=2), st.integers(0, 1), st.integers(1, 99))
def test_with_one_or_two_variants_a_raised_weight_takes_from_the_champion_only(
    before: list[tuple[str, float]], place: int, more: int
):
    left = 100 - sum(weight for _, weight in before)
    if place >= len(before) or more > left:
        return
    raised = [*before]
    name, weight = raised[place]
    raised[place] = (name, weight + more)
    for key in KEYS[:500]:
        old, new = variant_of(key, "m", before), variant_of(key, "m", raised)
        assert new == old or (old, new) == ("champion", name)


@given(weights(), st.integers(0, 3), st.integers(1, 99))
def test_no_subject_leaves_the_variant_whose_weight_was_raised(
    before: list[tuple[str, float]], place: int, more: int
):
    left = 100 - sum(weight for _, weight in before)
    if place >= len(before) or more > left:
        return
    raised = [*before]
    name, weight = raised[place]
    raised[place] = (name, weight + more)
    for key in KEYS[:500]:
        if variant_of(key, "m", before) == name:
            assert variant_of(key, "m", raised) == name


def test_all_or_nothing():
    assert shares([]) == {"champion": len(KEYS)}
    assert shares([("a", 100.0)]) == {"a": len(KEYS)}
    assert set(shares([("a", 40.0), ("b", 60.0)])) == {"a", "b"}


def test_the_split_of_one_model_says_nothing_about_another_models():
    half = [("a", 50.0)]
    same = sum(variant_of(key, "m", half) == variant_of(key, "n", half) for key in KEYS)
    assert abs(same / len(KEYS) - 0.5) < 0.04


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("champion=90 challenger=10", [("challenger", 10.0)]),
        ("challenger=12.5", [("challenger", 12.5)]),
        ("challenger=10% 7=5%", [("7", 5.0), ("challenger", 10.0)]),
        ("champion=0 5=100", [("5", 100.0)]),
        ("champion=100", []),
        ("", []),
    ],
)
def test_what_people_write_is_read(words: str, expected: list[tuple[str, float]]):
    assert list(split_of_words(words.split()).weights) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("challenger", "'challenger' is no share"),
        ("challenger=lots", "is no share"),
        ("champion=90 challenger=20", "add up to 110, not 100"),
        ("a=60 b=60", "add up to 120, more than 100"),
        ("a=1 a=2", "a is named twice"),
        ("a=0", "a share is more than 0"),
        ("a=-3", "a share is more than 0"),
        ("a=nan", "a share is more than 0"),
        ("a=101", "at most 100"),
        ("shadow=5", "'shadow' cannot be a variant"),
        ("fallback=5", "'fallback' cannot be a variant"),
        ("=5", "'' cannot be a variant"),
        ("a/b=5", "'a/b' cannot be a variant"),
    ],
)
def test_what_makes_no_split_is_refused_with_the_reason(words: str, message: str):
    with pytest.raises(ReleaseError, match=message):
        split_of_words(words.split())


def test_a_tag_may_be_short_or_pin_the_version():
    assert split_of_json('{"challenger": 10}') == Split((Arm("challenger", 10.0),))
    pinned = Split((Arm("b", 5.0), Arm("a", 10.0, "7")))
    assert json.loads(pinned.to_json()) == {
        "a": {"weight": 10.0, "version": "7"},
        "b": {"weight": 5.0},
    }


@given(weights(), st.sampled_from(["", "7"]))
def test_a_split_survives_its_tag(given_weights: list[tuple[str, float]], version: str):
    split = Split(tuple(Arm(name, weight, version) for name, weight in given_weights))
    assert split_of_json(split.to_json()) == split


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8)


@given(st.text() | values.map(json.dumps) | st.dictionaries(st.text(), values).map(json.dumps))
@example("[" * 100_000)
@example('{"a": 1' + "0" * 400 + "}")
@example('{"a": {"weight": 5, "version": null}}')
@example('{"a": {"weight": 5, "colour": "red"}}')
def test_whatever_a_tag_holds_gives_a_split_or_a_reason(text: str):
    try:
        split = split_of_json(text)
    except ReleaseError:
        return
    assert split.total <= 100.001


def test_a_variant_that_is_taken_out_leaves_its_share_to_the_champion():
    split = split_of_words(["a=10", "b=20"])
    assert split.without(["a"]).weights == (("b", 20.0),)
    assert split.without(["a"]).total == 20
