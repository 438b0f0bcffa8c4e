import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY, ContractColumn
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.profile import (
    SCORE,
    Profile,
    build,
    draw,
    profile_levels,
    profile_numbers,
    score_columns,
)

CONTRACT = (
    ContractColumn("distance", "number", True),
    ContractColumn("night", "boolean", False),
    ContractColumn("carrier", "category", True),
)


def columns(rows: int = 3000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    distance = rng.normal(700, 100, rows)
    distance[rng.random(rows) < 0.2] = np.nan
    names = np.array(["AA", "UA", MISSING_CATEGORY], dtype=object)
    return {
        "distance": distance,
        "night": (rng.random(rows) < 0.3).astype(float),
        "carrier": rng.choice(names, rows, p=[0.6, 0.3, 0.1]),
    }


def outputs(rows: int = 3000, classes: int = 2) -> np.ndarray:
    return np.random.default_rng(1).dirichlet(np.ones(classes), rows)


def test_a_profile_knows_rows_missing_values_quantiles_and_levels():
    profile = build(columns(), CONTRACT, outputs())
    distance, carrier = profile.columns["distance"], profile.columns["carrier"]
    present = columns()["distance"][~np.isnan(columns()["distance"])]
    assert (distance.rows, distance.missing) == (3000, 3000 - len(present))
    assert len(distance.quantiles) == 1001
    assert distance.quantiles[0] == present.min()
    assert distance.quantiles[-1] == present.max()
    assert distance.quantiles[500] == pytest.approx(np.median(present), abs=1)
    assert set(carrier.levels) == {"AA", "UA"}
    assert sum(carrier.levels.values()) + carrier.missing == 3000
    assert profile.columns["night"].kind == "numeric"


def test_quantiles_of_whole_numbers_are_whole_numbers():
    assert set(profile_numbers(np.array([1.0, 2.0, 2.0, 4.0])).quantiles) == {1.0, 2.0, 4.0}


def test_the_score_of_two_classes_is_the_probability_of_class_1():
    assert score_columns(np.array([[0.2, 0.8]]))[SCORE].tolist() == [0.8]
    assert score_columns(np.array([[7.5]]))[SCORE].tolist() == [7.5]


def test_several_classes_have_one_score_column_each():
    profile = build(columns(), CONTRACT, outputs(classes=3), ("low", "mid", "high"))
    assert [name for name in profile.columns if "(" in name] == ["p(low)", "p(mid)", "p(high)"]
    assert list(score_columns(outputs(classes=3))) == ["p(0)", "p(1)", "p(2)"]


@pytest.mark.parametrize("name", ["distance", "carrier"])
def test_an_absent_or_short_column_is_refused_by_name(name: str):
    absent = {key: values for key, values in columns().items() if key != name}
    for broken in (absent, columns() | {name: columns()[name][:5]}):
        with pytest.raises(DataError, match=name):
            build(broken, CONTRACT, outputs())


def test_a_column_named_like_the_score_is_refused():
    with pytest.raises(DataError, match=SCORE):
        build({SCORE: np.zeros(2)}, [ContractColumn(SCORE, "number", False)], outputs(2))


numbers = st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30)
texts = st.lists(st.text() | st.just(MISSING_CATEGORY), max_size=30)


@given(st.dictionaries(st.text(), numbers), st.dictionaries(st.text(), texts))
def test_a_profile_survives_json(
    floats: dict[str, list[float | None]], words: dict[str, list[str]]
):
    profile = Profile(
        {n: profile_numbers(np.array(v, dtype=float)) for n, v in floats.items()}
        | {n: profile_levels(np.array(v, dtype=object)) for n, v in words.items()}
    )
    raw = profile.to_json()
    assert Profile.from_json(raw) == profile
    assert Profile.from_json(raw).to_json() == raw


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"columns": {"a": {"kind": "numeric"}}}'])
def test_what_is_no_profile_is_refused(raw: bytes):
    with pytest.raises(DataError, match="not a reference profile"):
        Profile.from_json(raw)


def test_a_profile_holds_no_rows():
    size = len(build(columns(100_000), CONTRACT, outputs(100_000)).to_json())
    assert size < 100_000
    assert json.loads(build(columns(), CONTRACT, outputs()).to_json())


def test_a_drawn_sample_looks_like_the_profiled_columns():
    drawn = draw(build(columns(), CONTRACT, outputs()), 20_000, seed=3)
    assert set(drawn) == {"distance", "night", "carrier", SCORE}
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
