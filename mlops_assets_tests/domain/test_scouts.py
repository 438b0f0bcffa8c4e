import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.scouts import RIDGE, Moments, Scouts, moments

Rows = list[tuple[np.ndarray, np.ndarray]]


def made(seed: int, periods: int = 6, rows: int = 80, targets: int = 1) -> Rows:
    """Periods of indicator rows (n, d) with a constant last, and targets (n, k)."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(periods):
        codes = draw.integers(0, 5, rows)
        x = np.column_stack([np.eye(5)[codes], draw.random((rows, 2)) < 0.4, np.ones(rows)])
        found.append((x.astype(float), draw.normal(size=(rows, targets)) + codes[:, None]))
    return found


def of(history: Rows) -> Scouts:
    return Scouts([moments(x, y) for x, y in history])


def ridge(history: Rows, start: int, end: int) -> np.ndarray:
    """Weights (d, k) of scikit-learn's ridge on the rows, with the constant hardly held back."""
    x = np.concatenate([x for x, _ in history[start:end]])
    y = np.concatenate([y for _, y in history[start:end]])
    # A column that is 1000 times larger has a weight that is held back a million times less.
    scaled = x.copy()
    scaled[:, -1] *= 1000
    fitted = Ridge(alpha=RIDGE, fit_intercept=False, solver="cholesky").fit(scaled, y)
    weights = np.asarray(fitted.coef_).reshape(y.shape[1], -1).T.copy()
    weights[-1] *= 1000
    return weights


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    end=st.integers(1, 5),
    window=st.none() | st.integers(1, 6),
    targets=st.integers(1, 3),
)
def test_a_scout_loses_what_scikit_learns_ridge_loses_on_the_same_rows(
    seed: int, end: int, window: int | None, targets: int
):
    history = made(seed, targets=targets)
    start = max(0, end - window) if window else 0
    weights = ridge(history, start, end)
    for period in (end, 5):
        x, y = history[period]
        expected = ((x @ weights - y) ** 2).sum(axis=1).mean()
        assert of(history).loss(end, window, period) == pytest.approx(expected, rel=1e-5)


def test_sums_of_periods_are_those_of_all_rows():
    history = made(1)
    parts = [moments(x, y) for x, y in history]
    whole = moments(
        np.concatenate([x for x, _ in history]), np.concatenate([y for _, y in history])
    )
    assert sum(part.rows for part in parts) == whole.rows
    np.testing.assert_allclose(sum(part.gram for part in parts), whole.gram)
    np.testing.assert_allclose(sum(part.cross for part in parts), whole.cross)
    assert sum(part.squares for part in parts) == pytest.approx(whole.squares)


def test_a_scout_of_many_periods_is_the_scout_of_their_rows_together():
    history = made(2)
    pooled = [
        (np.concatenate([x for x, _ in history[:5]]), np.concatenate([y for _, y in history[:5]])),
        history[5],
    ]
    assert of(history).loss(5, None, 5) == pytest.approx(of(pooled).loss(1, None, 1))


def test_a_window_forgets_what_came_before_it():
    history, other = made(3), made(4)
    changed = other[:2] + history[2:]
    assert of(history).loss(5, 3, 5) == pytest.approx(of(changed).loss(5, 3, 5))
    assert of(history).loss(5, None, 5) != pytest.approx(of(changed).loss(5, None, 5), rel=1e-6)


def test_a_window_that_reaches_beyond_the_history_is_all_of_it():
    scouts = of(made(5))
    assert scouts.loss(3, 99, 5) == scouts.loss(3, None, 5)
    assert scouts.rows(3, 99) == scouts.rows(3, None) == 240
    assert scouts.rows(5, 2) == 160


def test_fresh_is_trained_up_to_the_period():
    scouts = of(made(6))
    assert scouts.fresh(4, 2) == scouts.loss(4, 2, 4)


def test_a_period_without_rows_loses_nothing():
    history = made(7)
    x, y = history[0]
    empty = moments(x[:0], y[:0])
    assert Scouts([moments(x, y), empty]).loss(1, None, 1) == 0.0


@pytest.mark.parametrize(("end", "window"), [(0, None), (7, None), (0, 2)])
def test_a_scout_of_no_period_is_refused(end: int, window: int | None):
    with pytest.raises(DataError, match="no scout of periods"):
        of(made(8)).loss(end, window, 5)


@pytest.mark.parametrize("targets", [np.zeros((4, 1)), np.zeros(5)])
def test_targets_that_do_not_belong_to_the_rows_are_refused(targets: np.ndarray):
    with pytest.raises(DataError, match="do not belong"):
        moments(np.ones((5, 2)), targets)


def test_the_history_is_kept_as_it_came():
    history = [moments(x, y) for x, y in made(9)]
    scouts = Scouts(history)
    assert len(scouts) == 6
    assert all(isinstance(part, Moments) for part in scouts.history)
    scouts.loss(4, None, 5)
    for (x, _), part in zip(made(9), history, strict=True):
        np.testing.assert_array_equal(part.gram, x.T @ x)
