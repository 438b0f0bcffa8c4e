import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.plan import (
    SHADOW_TAG,
    SPLIT_TAG,
    ChampionRef,
    PlannedVariant,
    ServingPlan,
    Standing,
    serving_plan,
)

VERSIONS = {
    "1": Standing(passed_gates=True),
    "2": Standing(passed_gates=True),
    "3": Standing(passed_gates=False),
    "4": Standing(passed_gates=True, quarantined="it fails"),
    "5": Standing(passed_gates=False, split_forced=True),
}
ALIASES = {"champion": "1", "challenger": "2"}


def plan(split: str = "", shadow: str = "", aliases: dict[str, str] = ALIASES) -> ServingPlan:
    return serving_plan(
        ChampionRef("1", ""),
        aliases=aliases,
        tags={SPLIT_TAG: split, SHADOW_TAG: shadow},
        quarantined=frozenset({"4"}),
        standing=VERSIONS.get,
    )


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("", []),
        ('{"challenger": 10}', [("challenger", "2", 10.0)]),
        ('{"2": 10}', [("2", "2", 10.0)]),
        # A pinned version stays, whatever becomes of the alias.
        ('{"challenger": {"weight": 10, "version": "5"}}', [("challenger", "5", 10.0)]),
        # The challenger has become the champion: nothing is left to split.
        ('{"challenger": {"weight": 10, "version": "1"}}', []),
    ],
)
def test_variants_are_resolved_to_versions(split: str, expected: list[tuple[str, str, float]]):
    found = plan(split)
    assert found.split == tuple(PlannedVariant(*one) for one in expected)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("split", "problem"),
    [
        ("{", "the split is ignored: '{' is no JSON"),
        ('{"3": 10}', "3 gets no traffic: version 3 has not passed its gates"),
        ('{"4": 10}', "4 gets no traffic: version 4 is quarantined (it fails)"),
        ('{"canary": 10}', "canary gets no traffic: there is no version or alias 'canary'"),
    ],
)
def test_what_cannot_be_split_is_left_out_with_its_reason(split: str, problem: str):
    found = plan(split)
    assert found.split == ()
    (told,) = found.problems
    assert problem in told


def test_one_bad_variant_does_not_take_the_good_one_with_it():
    found = plan('{"3": 10, "challenger": 5}')
    assert [one.variant for one in found.split] == ["challenger"]
    assert len(found.problems) == 1


def test_a_version_without_gates_may_watch_and_a_quarantined_one_may_not():
    assert plan(shadow="challenger").shadow == "2"
    assert plan(shadow="3").shadow == "3"
    assert plan(shadow="champion").shadow == ""
    assert plan(shadow="4").problems == ("shadow: version 4 is quarantined (it fails)",)
    assert plan(shadow="nobody").problems == ("shadow: there is no version or alias 'nobody'",)


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["challenger", "a"]), st.text()))
def test_no_tag_breaks_a_plan(split: str, shadow: str, aliases: dict[str, str]):
    found = plan(split, shadow, aliases)
    assert found.champion.version == "1"
    assert {one.version for one in found.split} <= {"2", "5"}
