"""The trees in Cython, against those in numpy."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.tree_scoring import MOST_LEAVES, NumpyScorer, Shared, TreeScorer
from mlops_assets_tests.domain.test_tree_scoring import FEATURES, VALUES, grown

QuickScorer = pytest.importorskip(
    "mlops_assets.compiled.quick_scorer", reason="no C compiler at the installation"
).QuickScorer


def laid_out(matrix: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers elsewhere in memory."""
    if layout == "by column":
        return np.asfortranarray(matrix)
    if layout == "every other":
        wide = np.full((2 * len(matrix), 3 * matrix.shape[1]), np.nan, dtype=np.float32)
        wide[::2, 1::3] = matrix
        return wide[::2, 1::3]
    if layout == "backwards":
        return matrix[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "read-only":
        matrix = matrix.copy()
        matrix.flags.writeable = False
    return matrix


LAYOUTS = ["by row", "by column", "every other", "backwards", "read-only"]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    leaves=st.one_of(
        st.lists(st.integers(1, 32), min_size=1, max_size=12),
        st.lists(st.integers(1, MOST_LEAVES), min_size=1, max_size=12),
    ),
    is_strict=st.booleans(),
    kinds=st.integers(1, 3),
    features=st.sampled_from([1, 3, 5, 12]),
    rows=st.sampled_from([0, 1, 2, 63, 64, 65, 200]),
    layout=st.sampled_from(LAYOUTS),
    is_spread=st.booleans(),
)
def test_any_trees_give_the_same_sums_for_any_rows(
    seed: int,
    leaves: list[int],
    is_strict: bool,
    kinds: int,
    features: int,
    rows: int,
    layout: str,
    is_spread: bool,
):
    draw = np.random.default_rng(seed)
    thresholds = draw.normal(size=300).tolist() if is_spread else VALUES
    trees = [grown(draw, count, thresholds, features) for count in leaves]
    outputs = draw.integers(kinds, size=len(trees)).tolist()
    values = np.float32([*thresholds, *draw.normal(size=50), -np.inf, np.inf, np.nan])
    matrix = laid_out(draw.choice(values, (rows, features)), layout)
    found = TreeScorer(trees, outputs, is_strict, QuickScorer).sums(matrix)
    expected = TreeScorer(trees, outputs, is_strict, NumpyScorer).sums(matrix)
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, MOST_LEAVES), st.booleans())
def test_any_row_ends_in_the_very_same_leaf_of_each_tree(seed: int, leaves: int, is_strict: bool):
    draw = np.random.default_rng(seed)
    trees = [grown(draw, leaves, VALUES) for _ in range(5)]
    for tree in trees:
        number = 0
        for node, left in enumerate(tree.left):
            if left < 0:
                tree.value[node] = number
                number += 1
    matrix = draw.choice(np.float32([*VALUES, np.inf, np.nan]), (100, FEATURES))
    outputs = list(range(len(trees)))
    found = TreeScorer(trees, outputs, is_strict, QuickScorer).sums(matrix)
    assert (found == TreeScorer(trees, outputs, is_strict, NumpyScorer).sums(matrix)).all()


def test_several_threads_at_once_get_what_one_gets():
    draw = np.random.default_rng(1)
    trees = [grown(draw, 31, draw.normal(size=200).tolist()) for _ in range(40)]
    scorer = TreeScorer(trees, [0] * len(trees), False, QuickScorer)
    matrices = [draw.normal(size=(2000, FEATURES)).astype(np.float32) for _ in range(8)]
    expected = [scorer.sums(matrix) for matrix in matrices]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(10):
            for found, one in zip(threads.map(scorer.sums, matrices), expected, strict=True):
                assert (found == one).all()


def tables() -> dict[str, Any]:
    """Two trees of two leaves: one asks for column 3, the other for column 0."""
    ones = np.full(4, 2**32 - 1, dtype=np.uint32)
    right = np.array([2**32 - 1, 2**32 - 2, 2**32 - 2, 2**32 - 2], dtype=np.uint32)
    leaves = np.zeros((2, 32), dtype=np.float32)
    leaves[:, :2] = [[1, 2], [10, 20]]
    return {
        "columns": [3, 0],
        "thresholds": [np.float32([0, 1]), np.float32([-1, 1])],
        "is_strict": False,
        "tables": [
            Shared((0,), (1,), np.stack([right, ones], axis=1)),
            Shared((1,), (1,), np.stack([ones, right], axis=1)),
        ],
        "leaves": leaves,
        "slices": [slice(0, 2)],
    }


def test_tables_that_fit_are_taken_whatever_becomes_of_them_later():
    taken = tables()
    scorer = QuickScorer(**taken)
    matrix = np.float32([[-2, 9, 9, -2], [-2, 9, 9, 0.5], [0, 9, 9, 0.5]])
    assert scorer.sums(matrix).tolist() == [[11], [12], [22]]
    for table in taken["tables"]:
        table.masks[:] = 0
    for thresholds in taken["thresholds"]:
        thresholds[:] = np.nan
    taken["leaves"][:] = np.nan
    assert scorer.sums(matrix).tolist() == [[11], [12], [22]]


def one_table(place: int, **changes: Any) -> dict[str, Any]:
    found = tables()["tables"]
    found[place] = replace(found[place], **changes)
    return {"tables": found}


def masks(dtype: Any = np.uint32, shape: tuple[int, int] = (4, 2)) -> np.ndarray:
    return np.full(shape, np.iinfo(dtype).max, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": [3]}, "each feature needs a column and thresholds"),
        ({"columns": [-1, 0]}, "a column is out of range"),
        ({"columns": [2**31, 0]}, "a column is out of range"),
        ({"thresholds": [np.float64([0, 1])] * 2}, "thresholds must be float32"),
        ({"thresholds": [np.float32([[0, 1]])] * 2}, "thresholds must be float32"),
        ({"thresholds": [np.float32([])] * 2}, "a feature has no thresholds, or too many"),
        ({"thresholds": [np.float32([1, 0])] * 2}, "thresholds must be sorted"),
        ({"thresholds": [np.float32([0, 0])] * 2}, "thresholds must be sorted"),
        ({"thresholds": [np.float32([0, np.nan])] * 2}, "thresholds must be sorted"),
        ({"thresholds": [np.float32([np.nan])] * 2}, "thresholds must be sorted"),
        ({"thresholds": [np.float32([0, 1, 2])] * 2}, "a table has no masks for some bins"),
        (one_table(0, features=(0, 1)), "each feature of a table needs a stride"),
        (one_table(0, features=(2,)), "a table has an unknown feature"),
        (one_table(0, features=(-1,)), "a table has an unknown feature"),
        (one_table(0, features=(1,)), "a feature is in two tables"),
        (one_table(0, features=(0, 0), strides=(1, 1)), "a feature is in two tables"),
        (one_table(0, strides=(2,)), "a table has no masks for some bins"),
        (one_table(0, strides=(-1,)), "a stride does not fit its table"),
        (one_table(0, strides=(2**40,)), "a stride does not fit its table"),
        ({"tables": tables()["tables"][:1]}, "a feature is in no table"),
        ({"tables": []}, "a feature is in no table"),
        (one_table(1, masks=masks(shape=(3, 2))), "a table has no masks for some bins"),
        (one_table(1, masks=masks(shape=(4, 3))), "masks do not fit the leaves"),
        (one_table(1, masks=masks(np.uint64)), "masks do not fit the leaves"),
        (one_table(1, masks=masks(np.int32)), "masks do not fit the leaves"),
        (one_table(1, masks=masks() >> 1), "a mask rules out the last leaf"),
        (one_table(1, masks=masks() * 0), "a mask rules out the last leaf"),
        ({"leaves": np.zeros((2, 16), dtype=np.float32)}, "a tree needs 32 or 64 leaves"),
        ({"leaves": np.zeros(64, dtype=np.float32)}, "a tree needs 32 or 64 leaves"),
        ({"leaves": np.zeros((2, 64), dtype=np.float32)}, "masks do not fit the leaves"),
        ({"slices": [slice(0, 3)]}, "an output has trees that there are not"),
        ({"slices": [slice(-1, 2)]}, "an output has trees that there are not"),
        ({"slices": [slice(1, 1)]}, "an output has trees that there are not"),
        ({"slices": []}, "there is no output"),
    ],
)
def test_tables_that_do_not_fit_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        QuickScorer(**{**tables(), **changes})


def test_a_matrix_of_other_numbers_or_too_few_columns_is_refused():
    scorer = QuickScorer(**tables())
    with pytest.raises(ValueError, match="the matrix has too few columns"):
        scorer.sums(np.zeros((5, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="expected 'const float' but got 'double'"):
        scorer.sums(np.zeros((5, 4)))
    with pytest.raises(ValueError, match="wrong number of dimensions"):
        scorer.sums(np.zeros(4, dtype=np.float32))
