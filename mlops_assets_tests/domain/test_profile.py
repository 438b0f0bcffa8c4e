import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.answer_columns import PREDICTED, SCORE
from mlops_assets.domain.contract import MISSING_CATEGORY, ContractColumn
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.profile import (
    Profile,
    build,
    profile_levels,
    profile_numbers,
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


def test_a_classifiers_profile_counts_the_classes_it_predicts_and_a_regressions_has_none():
    profile = build(columns(), CONTRACT, outputs(classes=3), ("low", "mid", "high"))
    levels = profile.columns[PREDICTED].levels
    likeliest = outputs(classes=3).argmax(axis=1)
    assert levels == {n: int((likeliest == i).sum()) for i, n in enumerate(("low", "mid", "high"))}
    assert [name for name in profile.columns if "(" in name] == ["p(low)", "p(mid)", "p(high)"]
    assert set(build(columns(), CONTRACT, outputs()[:, :1]).columns) == {
        "distance", "night", "carrier", SCORE
    }  # fmt: skip


def test_a_profile_written_before_predicted_classes_were_kept_is_still_read():
    old = (
        b'{"columns": {"night": {"kind": "numeric", "levels": {}, "missing": 1, '
        b'"quantiles": [0.0, 1.0], "rows": 3}, "carrier": {"kind": "category", '
        b'"levels": {"AA": 2}, "missing": 0, "quantiles": [], "rows": 2}}}'
    )
    profile = Profile.from_json(old)
    assert profile.columns["night"].quantiles == (0.0, 1.0)
    assert profile.columns["carrier"].levels == {"AA": 2}
    assert PREDICTED not in profile.columns
