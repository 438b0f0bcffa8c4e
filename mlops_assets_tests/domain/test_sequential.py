import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.sequential import (
    LEAST_SUBJECTS,
    SCALES,
    Sample,
    Stratum,
    compare,
    half_width,
)


def stratum(champion: np.ndarray, challenger: np.ndarray, subjects: bool = False) -> Stratum:
    """A stratum of these losses; each row is a subject of its own."""
    n0, n1 = len(champion), len(challenger)
    if not subjects:
        return Stratum(Sample.of(champion), Sample.of(challenger))
    return Stratum(Sample.of(champion, np.arange(n0)), Sample.of(challenger, n0 + np.arange(n1)))


def weeks(
    seed: int, count: int, n: int, *, share: float = 0.5, worse: float = 0.0
) -> list[Stratum]:
    """Weeks of skewed losses, some weeks harder than others."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        losses = draw.exponential(0.5 + draw.random(), n)
        ours = draw.random(n) < share
        found.append(stratum(losses[~ours], losses[ours] + worse))
    return found


def verdicts(strata: list[Stratum], confidence: float = 0.95) -> list[str]:
    """What is said at each look."""
    return [
        compare(strata[:seen], effect=0.1, confidence=confidence).verdict
        for seen in range(1, len(strata) + 1)
    ]


def test_equal_versions_are_rarely_told_apart_however_often_one_looks():
    said = [set(verdicts(weeks(seed, 40, 300))) for seed in range(300)]
    assert np.mean(["better" in found for found in said]) <= 0.025
    assert np.mean([found != {"not_yet"} for found in said]) <= 0.05


def test_an_interval_for_one_look_would_be_wrong_far_more_often():
    wrong = 0
    for seed in range(300):
        strata = weeks(seed, 40, 300)
        seen = [compare(strata[: n + 1], effect=0.1, confidence=0.95) for n in range(40)]
        narrow = [1.96 / 3.5 * (found.high - found.low) / 2 for found in seen]
        wrong += any(abs(c.difference) > w for c, w in zip(seen, narrow, strict=True))
    assert wrong / 300 > 0.1


@pytest.mark.parametrize(("worse", "expected"), [(0.15, "worse"), (-0.15, "better")])
def test_a_real_difference_is_found_and_never_called_the_opposite(worse: float, expected: str):
    said = [verdicts(weeks(seed, 30, 500, worse=worse)) for seed in range(40)]
    assert all(found[-1] == expected for found in said)
    assert {verdict for found in said for verdict in found} == {"not_yet", expected}


def test_hard_weeks_cancel_while_the_challengers_share_grows():
    draw = np.random.default_rng(0)
    easy, hard = draw.normal(1, 0.1, 2000), draw.normal(5, 0.1, 2000)
    # Most of the challenger's rows come from the hard week: pooled, it would look much worse.
    found = compare(
        [stratum(easy[:1900], easy[1900:]), stratum(hard[:1000], hard[1000:])],
        effect=0.1,
        confidence=0.95,
    )
    assert found.verdict == "not_yet"
    assert abs(found.difference) < 0.01


def test_subjects_that_come_back_count_once():
    """Each subject keeps its own luck: 100 rows of one say no more than one."""
    wrong_by_rows = wrong_by_subject = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        luck = draw.normal(0, 1, 200)
        ours = draw.random(200) < 0.5
        numbers = np.arange(200)
        by_rows, by_subject = [], []
        for _ in range(10):
            losses = luck + draw.normal(0, 0.1, 200)
            by_rows.append(stratum(losses[~ours], losses[ours]))
            by_subject.append(
                Stratum(
                    Sample.of(losses[~ours], numbers[~ours]), Sample.of(losses[ours], numbers[ours])
                )
            )
        wrong_by_rows += {"better", "worse"} & set(verdicts(by_rows)) != set()
        wrong_by_subject += {"better", "worse"} & set(verdicts(by_subject)) != set()
    assert wrong_by_rows / 200 > 0.2
    assert wrong_by_subject / 200 <= 0.05


def test_subjects_that_move_to_the_challenger_offset_their_own_luck():
    draw = np.random.default_rng(1)
    luck, numbers = draw.normal(0, 1, 400), np.arange(400)
    early, late = numbers < 100, numbers < 200

    def week(ours: np.ndarray) -> Stratum:
        return Stratum(Sample.of(luck[~ours], numbers[~ours]), Sample.of(luck[ours], numbers[ours]))

    alone = compare([week(late)], effect=0.1, confidence=0.95)
    moved = compare([week(early), week(late)], effect=0.1, confidence=0.95)
    assert moved.low < moved.difference < moved.high
    assert moved.verdict == alone.verdict == "not_yet"


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shifts=st.lists(st.floats(-100, 100), min_size=1, max_size=4),
    scale=st.floats(0.01, 100),
)
def test_a_weeks_difficulty_and_the_unit_of_the_loss_do_not_matter(seed, shifts, scale):
    draw = np.random.default_rng(seed)
    plain, other = [], []
    for shift in shifts:
        champion, challenger = draw.exponential(1, 120), draw.exponential(1, 60)
        plain.append(stratum(champion, challenger))
        other.append(stratum(champion * scale + shift, challenger * scale + shift))
    one = compare(plain, effect=0.1, confidence=0.9)
    same = compare(other, effect=0.1 * scale, confidence=0.9)
    for name in ("difference", "low", "high"):
        assert getattr(same, name) == pytest.approx(
            scale * getattr(one, name), rel=1e-6, abs=1e-6 * scale
        )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5), n=st.integers(60, 200))
def test_rows_of_as_many_subjects_give_the_same_interval_either_way(seed, count, n):
    draw = np.random.default_rng(seed)
    losses = [(draw.exponential(1, n), draw.exponential(1.2, n)) for _ in range(count)]
    by_rows = compare([stratum(a, b) for a, b in losses], effect=0.1, confidence=0.95)
    numbered = [
        Stratum(
            Sample.of(a, 2 * place * n + np.arange(n)),
            Sample.of(b, (2 * place + 1) * n + np.arange(n)),
        )
        for place, (a, b) in enumerate(losses)
    ]
    by_subject = compare(numbered, effect=0.1, confidence=0.95)
    assert by_subject.difference == by_rows.difference
    assert by_subject.high == pytest.approx(by_rows.high, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(variance=st.floats(1e-8, 10), effect=st.floats(1e-3, 10), alpha=st.floats(0.001, 0.3))
def test_the_sequence_is_wider_than_one_look_and_narrows_with_evidence(variance, effect, alpha):
    from scipy.special import ndtri

    width = half_width(variance, effect, 1 - alpha)
    assert width > -ndtri(alpha / 2) * math.sqrt(variance)
    assert half_width(variance / 2, effect, 1 - alpha) < width
    assert half_width(variance, effect, 1 - alpha / 2) > width


@pytest.mark.parametrize("z", [1.0, 3.0, 10.0, 50.0, 100.0])
def test_the_interval_is_sharp_for_small_differences_and_for_disasters(z: float):
    """Where it is as wide as 1 to 100 effects, it is less than 3.9 standard errors wide."""
    effect, standard_error = 0.01, 0.01 * z / 3.5
    width = half_width(standard_error**2, effect, 0.95)
    assert width == pytest.approx(z * effect, rel=0.15)
    assert width < 3.9 * standard_error


@settings(max_examples=50, deadline=None)
@given(variance=st.floats(1e-8, 1e4), effect=st.floats(1e-3, 10), confidence=st.floats(0.5, 0.999))
def test_the_ends_are_where_the_mixture_reaches_its_level(variance, effect, confidence):
    width = half_width(variance, effect, confidence)
    tail = -2 * math.log(1 - confidence)
    best = tail + math.log1p(tail)
    reach2 = (1 + 1 / best) * (math.log1p(best) + tail)
    mixture = 0.0
    for times, weight in SCALES:
        rv = reach2 / (times * effect) ** 2 / best * variance
        mixture += (
            weight * math.sqrt(rv / (1 + rv)) * math.exp(width**2 / variance / (2 * (1 + rv)))
        )
    assert mixture == pytest.approx(1 / (1 - confidence), rel=1e-6)


def test_a_disaster_is_seen_in_the_first_rows():
    draw = np.random.default_rng(0)
    champion, challenger = draw.exponential(0.35, 6900), draw.exponential(3.5, 70)
    found = compare([stratum(champion, challenger)], effect=0.035, confidence=0.95)
    assert found.verdict == "worse"


def test_too_few_subjects_say_nothing():
    few = np.zeros(LEAST_SUBJECTS - 1)
    many = np.ones(5000)
    found = compare([stratum(many, few)], effect=0.1, confidence=0.95)
    assert (found.verdict, found.low, found.high) == ("not_yet", -math.inf, math.inf)
    assert "49 labelled rows of the challenger, 5000 of the champion" in found.reason
    repeated = Sample.of(np.zeros(400), np.arange(400) % 40)
    one = Stratum(Sample.of(many, 1000 + np.arange(5000)), repeated)
    assert "of 40 subjects" in compare([one], effect=0.1, confidence=0.95).reason


def test_nothing_at_all_is_no_verdict():
    empty = stratum(np.empty(0), np.empty(0))
    for strata in ([], [empty], [stratum(np.ones(500), np.zeros(1))]):
        found = compare(strata, effect=0.1, confidence=0.95)
        assert (found.verdict, found.difference, found.n_challenger) == ("not_yet", 0.0, 0)


def test_a_quiet_challenger_is_as_noisy_as_its_champion():
    """A small skewed sample that has not met its tail yet looks both good and sure of it."""
    draw = np.random.default_rng(0)
    champion = np.where(draw.random(5000) < 0.01, 10.0, 0.1)
    found = compare([stratum(champion, np.full(60, 0.1))], effect=0.1, confidence=0.95)
    assert found.verdict == "not_yet"


def test_versions_that_lose_the_same_on_every_row_are_equal_for_sure():
    same = [stratum(np.zeros(200), np.zeros(200), subjects=True)]
    found = compare(same, effect=0.1, confidence=0.95)
    assert (found.verdict, found.low, found.high) == ("not_yet", 0.0, 0.0)


@pytest.mark.parametrize(("effect", "confidence"), [(0, 0.9), (math.inf, 0.9), (1, 0), (1, 1)])
def test_limits_that_are_none_are_refused(effect: float, confidence: float):
    with pytest.raises(DataError, match="effect"):
        compare([], effect=effect, confidence=confidence)


def test_losses_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="finite"):
        Sample.of(np.array([1.0, math.nan]))
    with pytest.raises(DataError, match="2 subjects for 3 losses"):
        Sample.of(np.ones(3), np.arange(2))
