from dataclasses import replace

import numpy as np
import pytest

from mlops_assets.domain.scouts import Moments, Scouts, moments
from mlops_assets.domain.staleness import History, Version, outlook
from mlops_assets_tests.domain.histories import drifting_moments

ROWS = 2000
PERIODS = 24


def history(parts: list[Moments], losses: dict[int, float], end: int = 8) -> History:
    live = Version("1", end=end, window=None, rows=end * ROWS, losses=losses)
    return History(Scouts(parts), [ROWS] * len(parts), [live])


def level(loss: float, start: int = 8) -> dict[int, float]:
    return dict.fromkeys(range(start, PERIODS), loss)


@pytest.mark.parametrize("seed", range(3))
def test_a_world_that_drifts_makes_models_age(seed: int):
    parts = drifting_moments(PERIODS, ROWS, drift=0.2, seed=seed)
    found = outlook(history(parts, {i: 1 + 0.05 * (i - 8) for i in range(8, PERIODS)}))
    assert found is not None
    assert found.drift > 0.01
    assert found.benefit > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_in_an_unchanging_world_they_do_not(seed: int):
    found = outlook(history(drifting_moments(PERIODS, ROWS, seed=seed), level(1.0)))
    assert found is not None
    assert 0 <= found.drift < 0.003
    assert found.benefit < 0.05


def forgetful(period: int, seed: int) -> Moments:
    """A period of a world whose weights change sign again and again, slowly."""
    draw = np.random.default_rng(1000 * seed + period)
    x = np.column_stack([draw.normal(size=(ROWS, 3)), np.ones(ROWS)])
    y = x[:, :3] @ (np.array([1.0, -1.0, 0.5]) * 3 * np.cos(period / 6))
    return moments(x, (y + 0.3 * draw.normal(size=ROWS))[:, None])


def test_a_shorter_window_is_chosen_where_the_world_forgets():
    parts = [forgetful(period, 1) for period in range(PERIODS)]
    found = outlook(history(parts, level(1.0)))
    assert found is not None
    assert found.window is not None
    assert found.fresh_rows == found.window * ROWS


def test_all_periods_are_kept_where_it_does_not():
    found = outlook(history(drifting_moments(PERIODS, ROWS), level(1.0)))
    assert found is not None
    assert found.window is None
    assert found.fresh_rows == PERIODS * ROWS


def test_it_is_deterministic():
    parts = drifting_moments(PERIODS, ROWS, drift=0.2)
    assert outlook(history(parts, level(1.1))) == outlook(history(parts, level(1.1)))


def test_the_unit_of_the_loss_does_not_matter():
    parts = drifting_moments(PERIODS, ROWS, drift=0.2)
    one = outlook(history(parts, level(1.0)))
    thousand = outlook(history(parts, level(1000.0)))
    assert one is not None
    assert thousand is not None
    assert thousand.drift == pytest.approx(1000 * one.drift)
    assert thousand.benefit == pytest.approx(1000 * one.benefit)


def test_nothing_is_told_before_labels_and_scouts_have_a_history():
    parts = drifting_moments(PERIODS, ROWS)
    assert outlook(history(parts, {})) is None
    assert outlook(history(parts[:3], {2: 1.0}, end=2)) is None


def test_periods_left_to_the_gates_make_a_fresh_model_older():
    parts = drifting_moments(PERIODS, ROWS, drift=0.2)
    with_all, held = (
        outlook(history(parts, level(1.0))),
        outlook(history(parts, level(1.0)), holdout=2),
    )
    assert with_all is not None
    assert held is not None
    assert (with_all.delay, held.delay) == (0, 2)
    assert held.benefit < with_all.benefit


def test_the_served_version_is_the_newest():
    parts = drifting_moments(PERIODS, ROWS, drift=0.2)
    known = history(parts, level(1.0))
    second = Version("2", end=20, window=None, rows=20 * ROWS, losses={22: 0.9, 23: 0.9})
    both = outlook(replace(known, versions=[*known.versions, second]))
    assert both is not None
    assert (both.version, both.age) == ("2", 4)
