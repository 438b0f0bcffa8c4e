import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.levels import FrequentLevels


def column(*texts: str) -> np.ndarray:
    return np.array(texts, dtype=object).reshape(-1, 1)


TRAINED = column(*"aaaa", *"bbb", "c", "d", MISSING_CATEGORY)


def test_rare_and_unknown_levels_are_taken_together():
    step = FrequentLevels(min_share=0.2).fit(TRAINED)
    found = step.transform(column("a", "b", "c", "d", "new", MISSING_CATEGORY))
    assert found.ravel().tolist() == [1, 2, 0, 0, 0, 0]


def test_a_missing_value_is_a_level_like_others():
    found = FrequentLevels(min_share=0.1).fit(TRAINED).transform(column(MISSING_CATEGORY))
    assert found[0, 0] > 0


def test_the_most_frequent_level_always_counts():
    step = FrequentLevels(min_share=0.9).fit(TRAINED)
    assert step.levels_.tolist() == ["a"]


def test_one_hot_begins_with_the_rare_ones():
    step = FrequentLevels(min_share=0.2, one_hot=True).fit(TRAINED)
    np.testing.assert_array_equal(step.transform(column("c", "a", "b")), np.eye(3))
    assert step.get_feature_names_out(["k"]).tolist() == ["k_(rare)", "k_a", "k_b"]


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.floats(0.01, 0.5))
def test_a_level_is_numbered_if_its_share_is_large_enough(texts: list[str], share: float):
    found = FrequentLevels(share).fit_transform(column(*texts)).ravel()
    most = max(map(texts.count, texts))
    for text, number in zip(texts, found, strict=True):
        count = texts.count(text)
        assert (number > 0) == (count >= min(share * len(texts), most))
