from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlops_assets.domain.importance import ROWS, importances

RNG = np.random.default_rng(5)


def score(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """A model that adds up `strong` and a tenth of `weak`, and ignores the rest."""
    return (columns["strong"] + 0.1 * columns["weak"]).reshape(-1, 1)


def columns(rows: int) -> dict[str, NDArray[Any]]:
    return {name: RNG.normal(size=rows) for name in ("idle", "weak", "strong")}


def test_what_a_model_uses_more_comes_first_and_what_it_ignores_is_exactly_nothing():
    given = columns(1000)
    y = score(given)[:, 0] + RNG.normal(size=1000) * 0.1
    strong, weak, idle = importances("regression", score, given, y, seed=1)
    assert [one.column for one in (strong, weak, idle)] == ["strong", "weak", "idle"]
    # The mean absolute difference of two standard normal values is 2 / sqrt(pi).
    assert strong.rise.mean == pytest.approx(2 / np.pi**0.5, abs=0.15)
    assert strong.matters
    assert weak.matters
    assert idle.rise.mean == idle.rise.upper == 0
    assert not idle.matters


def test_the_rows_are_capped_the_seed_decides_and_nothing_given_is_changed():
    given = columns(3 * ROWS)
    before = {name: values.copy() for name, values in given.items()}
    sizes = set()

    def counting(shuffled: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        sizes.add(len(shuffled["strong"]))
        return score(shuffled)

    y = score(given)[:, 0]
    first = importances("regression", counting, given, y, seed=3)
    assert first == importances("regression", score, given, y, seed=3)
    assert first != importances("regression", score, given, y, seed=4)
    assert sizes == {ROWS}
    for name, values in before.items():
        np.testing.assert_array_equal(given[name], values)
