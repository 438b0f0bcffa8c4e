import numpy as np
import pytest

from mlops_assets.domain.answer_columns import PREDICTED, SCORE
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.profile import Profile, build, profile_levels, profile_numbers
from mlops_assets.domain.profile_rows import draw
from mlops_assets_tests.domain.test_profile import CONTRACT, columns, outputs


def test_a_drawn_sample_looks_like_the_profiled_columns():
    drawn = draw(build(columns(), CONTRACT, outputs()), 20_000, seed=3)
    assert set(drawn) == {"distance", "night", "carrier", SCORE, PREDICTED}
    assert np.nanmean(drawn["distance"]) == pytest.approx(700, abs=8)
    assert np.nanstd(drawn["distance"]) == pytest.approx(100, abs=5)
    assert np.isnan(drawn["distance"]).mean() == pytest.approx(0.2, abs=0.03)
    assert drawn["night"].mean() == pytest.approx(0.3, abs=0.03)
    assert (drawn["carrier"] == "AA").mean() == pytest.approx(0.6, abs=0.03)
    assert (drawn["carrier"] == MISSING_CATEGORY).mean() == pytest.approx(0.1, abs=0.03)


def test_drawing_again_with_the_same_seed_gives_the_same_rows():
    profile = build(columns(), CONTRACT, outputs())
    first, again, other = (draw(profile, 50, seed) for seed in (1, 1, 2))
    for name in profile.columns:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first[SCORE], other[SCORE])


def test_an_empty_column_draws_as_missing():
    profile = Profile(
        {
            "number": profile_numbers(np.full(5, np.nan)),
            "word": profile_levels(np.empty(0, dtype=object)),
        }
    )
    drawn = draw(profile, 3, 0)
    assert np.isnan(drawn["number"]).all()
    assert drawn["word"].tolist() == [MISSING_CATEGORY] * 3
