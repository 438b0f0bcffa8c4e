"""Sums of leaves, against walking every tree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain import threshold_bins
from mlops_assets.domain.tree_scoring import MOST_LEAVES, Tree, TreeScorer

FEATURES = 3
# Few values, so that equality and neighbours are common.
VALUES = [-np.inf, -2.5, -0.1, -0.0, 0.0, 1e-30, 0.1, float(np.nextafter(np.float32(0.1), 1))]


def grown(draw: np.random.Generator, leaves: int, thresholds: list[float]) -> Tree:
    """A random tree of so many leaves, deep or flat."""
    tree = Tree([], [], [], [], [])

    def grow(leaves: int) -> int:
        place = len(tree.feature)
        tree.feature.append(int(draw.integers(FEATURES)))
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


def agrees(trees: list[Tree], outputs: list[int], is_strict: bool, matrix: np.ndarray) -> None:
    found = TreeScorer(trees, outputs, is_strict).sums(matrix)
    kinds = sorted({*outputs})
    expected = [
        [
            sum(walked(t, row, is_strict) for t, k in zip(trees, outputs, strict=True) if k == kind)
            for kind in kinds
        ]
        for row in matrix
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, MOST_LEAVES), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_any_rows_end_in_the_leaves_that_the_walk_ends_in(
    seed: int, leaves: list[int], is_strict: bool, kinds: int
):
    draw = np.random.default_rng(seed)
    trees = [grown(draw, count, VALUES[1:]) for count in leaves]
    matrix = draw.choice([*VALUES, np.nan, np.inf], (20, FEATURES)).astype(np.float32)
    agrees(trees, [tree % kinds for tree in range(len(trees))], is_strict, matrix)


@pytest.mark.parametrize("spread", ["even", "skewed", "one cell", "huge", "tiny"])
@pytest.mark.parametrize("is_strict", [True, False])
def test_many_thresholds_are_found_however_they_lie(spread: str, is_strict: bool):
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
    agrees(trees, [0] * len(trees), is_strict, matrix)


def test_a_grid_is_used_where_thresholds_are_spread(monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(2)
    trees = [grown(draw, 32, draw.normal(size=100).tolist()) for _ in range(20)]
    scorer = TreeScorer(trees, [0] * len(trees), False)
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


def test_trees_of_one_leaf_and_no_rows_are_no_trouble():
    draw = np.random.default_rng(4)
    scorer = TreeScorer([grown(draw, 1, [0.0])], [0], False)
    assert scorer.features == ()
    assert scorer.sums(np.zeros((3, FEATURES), dtype=np.float32)).shape == (3, 1)
    assert scorer.sums(np.zeros((0, FEATURES), dtype=np.float32)).shape == (0, 1)
