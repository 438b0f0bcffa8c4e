"""Sums of leaves, against walking every tree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain import threshold_bins
from mlops_assets.domain.tree_scoring import (
    MOST_LEAVES,
    NumpyScorer,
    QuickScorer,
    Scorer,
    Tree,
    TreeScorer,
)

NOT_BUILT = pytest.mark.skipif(QuickScorer is None, reason="no C compiler at the installation")
SCORERS = pytest.mark.parametrize(
    "scorer",
    [pytest.param(NumpyScorer, id="numpy"), pytest.param(QuickScorer, id="C", marks=NOT_BUILT)],
)

FEATURES = 3
# Few values, so that equality and neighbours are common.
VALUES = [-np.inf, -2.5, -0.1, -0.0, 0.0, 1e-30, 0.1, float(np.nextafter(np.float32(0.1), 1))]


def grown(
    draw: np.random.Generator, leaves: int, thresholds: list[float], features: int = FEATURES
) -> Tree:
    """A random tree of so many leaves, deep or flat."""
    tree = Tree([], [], [], [], [])

    def grow(leaves: int) -> int:
        place = len(tree.feature)
        tree.feature.append(int(draw.integers(features)))
        tree.value.append(float(draw.choice(thresholds)))
        tree.left.append(-1)
        tree.right.append(-1)
        tree.missing_left.append(bool(draw.integers(2)))
        if leaves == 1:
            tree.value[place] = float(draw.normal())
        else:
            left = int(draw.integers(1, leaves))
            tree.left[place] = grow(left)
            tree.right[place] = grow(leaves - left)
        return place

    grow(leaves)
    return tree


def walked(tree: Tree, row: np.ndarray, is_strict: bool) -> float:
    node = 0
    while tree.left[node] >= 0:
        value, threshold = row[tree.feature[node]], np.float32(tree.value[node])
        if np.isnan(value):
            goes_left = tree.missing_left[node]
        else:
            goes_left = value < threshold if is_strict else value <= threshold
        node = tree.left[node] if goes_left else tree.right[node]
    return float(np.float32(tree.value[node]))


def agrees(
    scorer: Scorer, trees: list[Tree], outputs: list[int], is_strict: bool, matrix: np.ndarray
) -> None:
    found = TreeScorer(trees, outputs, is_strict, scorer).sums(matrix)
    kinds = sorted({*outputs})
    expected = [
        [
            sum(walked(t, row, is_strict) for t, k in zip(trees, outputs, strict=True) if k == kind)
            for kind in kinds
        ]
        for row in matrix
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@SCORERS
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, MOST_LEAVES), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_any_rows_end_in_the_leaves_that_the_walk_ends_in(
    scorer: Scorer, seed: int, leaves: list[int], is_strict: bool, kinds: int
):
    draw = np.random.default_rng(seed)
    trees = [grown(draw, count, VALUES[1:]) for count in leaves]
    matrix = draw.choice([*VALUES, np.nan, np.inf], (20, FEATURES)).astype(np.float32)
    agrees(scorer, trees, [tree % kinds for tree in range(len(trees))], is_strict, matrix)


@SCORERS
@pytest.mark.parametrize("spread", ["even", "skewed", "one cell", "huge", "tiny"])
@pytest.mark.parametrize("is_strict", [True, False])
def test_many_thresholds_are_found_however_they_lie(scorer: Scorer, spread: str, is_strict: bool):
    draw = np.random.default_rng(1)
    even = draw.normal(size=200)
    thresholds = {
        "even": even,
        "skewed": np.exp(3 * even),
        "one cell": np.append(even * 1e-6, 1e9),
        "huge": even * 1e37,
        "tiny": even * 1e-40,
    }[spread].astype(np.float32)
    trees = [grown(draw, 32, thresholds.tolist()) for _ in range(20)]
    at = draw.choice(thresholds, (300, FEATURES))
    to = np.float32([-np.inf, 0, np.inf])[draw.integers(0, 3, at.shape)]
    matrix = np.where(to == 0, at, np.nextafter(at, to)).astype(np.float32)
    matrix[0] = np.inf, -np.inf, np.nan
    agrees(scorer, trees, [0] * len(trees), is_strict, matrix)


def test_a_grid_is_used_where_thresholds_are_spread(monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(2)
    trees = [grown(draw, 32, draw.normal(size=100).tolist()) for _ in range(20)]
    scorer = TreeScorer(trees, [0] * len(trees), False, NumpyScorer)
    matrix = draw.normal(size=(10, FEATURES)).astype(np.float32)
    by_grid = scorer.sums(matrix)

    def no_search(*arguments: object, **options: object) -> None:
        raise AssertionError("searched")

    with monkeypatch.context() as patched:
        patched.setattr(threshold_bins.np, "searchsorted", no_search)
        assert (scorer.sums(matrix) == by_grid).all()


def test_a_large_tree_is_refused():
    draw = np.random.default_rng(3)
    with pytest.raises(ValueError, match="a tree has 65 leaves, the limit is 64"):
        TreeScorer([grown(draw, 65, [0.0])], [0], False)


@SCORERS
def test_trees_of_one_leaf_and_no_rows_are_no_trouble(scorer: Scorer):
    draw = np.random.default_rng(4)
    tree = grown(draw, 1, [0.0])
    trees = TreeScorer([tree], [0], False, scorer)
    assert trees.features == ()
    value = np.float32(tree.value[0])
    assert trees.sums(np.zeros((3, FEATURES), dtype=np.float32)).tolist() == [[value]] * 3
    assert trees.sums(np.zeros((0, FEATURES), dtype=np.float32)).shape == (0, 1)


@pytest.mark.parametrize("thresholds", [[-np.inf, 0.0, np.inf], [np.inf], [1.0, 1.0 + 1e-6]])
@SCORERS
@pytest.mark.parametrize("is_strict", [True, False])
def test_thresholds_may_be_infinite_or_next_to_each_other(
    scorer: Scorer, thresholds: list[float], is_strict: bool
):
    draw = np.random.default_rng(5)
    trees = [grown(draw, 8, thresholds) for _ in range(5)]
    values = [*thresholds, -np.inf, -1e38, 0.5, 1e38, np.inf, np.nan]
    matrix = draw.choice(values, (200, FEATURES)).astype(np.float32)
    agrees(scorer, trees, [0] * len(trees), is_strict, matrix)


def test_what_was_compiled_is_used_where_it_is_there():
    trees = TreeScorer([grown(np.random.default_rng(6), 3, [0.0])], [0], False)
    expected = NumpyScorer if QuickScorer is None else QuickScorer
    assert type(trees._scorer) is expected
