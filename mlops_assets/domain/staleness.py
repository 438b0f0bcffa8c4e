"""How much the served model loses by its age, without training another one.

Two things make a fresh model better than the served one: the world moved since its training
(drift), and there are more rows to learn from (growth). Scouts (domain.scouts) of any age show the
drift of every period. What they do not show is how much more a served model loses than a scout
(`scale`), and what it gains from more rows (`growth`). Both start from a prior and are learned
from the losses that were seen: of each version against fresh scouts of the same period (difference
in differences), and of two versions on the same rows. Ridge regression with the priors as
pseudo-observations (Hoerl and Kennard 1970).

Growth follows the learning curve `growth * loss / rows`, the rate of a model with a fixed number
of parameters (Amari and Murata 1993). All losses are relative: the model's to its loss when it was
new, the scouts' to those of fresh scouts. So the priors hold for every task and unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlops_assets.domain.evaluation import Floats
from mlops_assets.domain.lookahead import Outlook
from mlops_assets.domain.scouts import FIRST, Scouts

# Priors: mean and standard deviation. What a boosted tree loses by age is about three times what a
# scout does; on shuffled real data it loses about 450 / rows of its loss for want of rows.
SCALE, SCALE_SD = 3.0, 1.0
GROWTH, GROWTH_SD = 450.0, 300.0
# How much two versions' distance to fresh scouts may differ, and what a period's mean varies by.
VERSION_SD, PERIOD_SD, ROW_SD = 0.05, 0.02, 0.9
WINDOWS = (4, 8, 16)
NEWEST, MEMORY = 12, 60
# The excess of the newest periods, shrunk towards what the age explains.
SMOOTHED, SHRINK = 4, 0.5
# A shorter window must be better by so much of the loss, less so many standard errors.
# Models surely age where scouts of one of these ages lose more than fresh ones, by so many standard
# errors over the periods. In unchanging rows that is so in about 3 of 100 periods.
TELLING_AGES, SURE_ERRORS, SURE_PERIODS = (4, 6, 8), 2.0, 4
WINDOW_GAIN, WINDOW_ERRORS, WINDOW_PERIODS = 0.005, 1.5, 3


@dataclass(frozen=True)
class Version:
    """A version that serves or served, in periods of the history (numbered from 0).

    It was trained on the last `window` (None: all) of the first `end` periods, on `rows` rows;
    `losses` are its mean losses by period, for periods with labels, of any it was tried on.
    """

    name: str
    end: int
    window: int | None
    rows: int
    losses: Mapping[int, float]


@dataclass(frozen=True)
class History:
    """All that is known when a decision is due.

    `scouts` covers the labelled periods, `rows` are the rows of each period that has been served
    or could be trained on, labelled or not; `versions` end with the one that serves.
    """

    scouts: Scouts
    rows: Sequence[int]
    versions: Sequence[Version]

    @cached_property
    def unit(self) -> float:
        """A version's loss when it was new: the unit of relative losses."""
        firsts = [v.losses[min(v.losses)] for v in self.versions if v.losses]
        return max(float(np.mean(firsts)), 1e-12) if firsts else 0.0

    @cached_property
    def scout_unit(self) -> float:
        """The loss of fresh scouts in the newest periods."""
        newest = range(max(2, len(self.scouts) - NEWEST), len(self.scouts))
        return max(float(np.mean([self.scouts.fresh(i, None) for i in newest])), 1e-12)


def outlook(history: History, *, holdout: int = 0, abrupt: bool = False) -> Outlook | None:
    """Estimate what to expect; None until a served period has labels and scouts have a history.

    A model that is trained now leaves the newest `holdout` labelled periods to its gates. After
    an `abrupt` change, which a test of the loss has found, only the newest period tells what the
    served model loses; otherwise the newest four do.
    """
    scouts, live = history.scouts, history.versions[-1]
    labelled, coming = len(scouts), len(history.rows)
    if labelled < 4 or not history.unit:
        return None
    _, scout_growth = _curve(history, None)
    scale, growth = _scale_and_growth(history, scout_growth)
    window = _window(history, scale, growth, scout_growth)
    drift = scale * _curve(history, window)[0]
    end = max(labelled - holdout, 1)
    own = range(max(live.end, labelled - (1 if abrupt else SMOOTHED)), labelled)
    beyond = [
        scale
        * (
            _aged(history, scout_growth, live.end, live.window, i)
            - _aged(history, scout_growth, i, window, i)
        )
        - drift * (i - live.end)
        for i in own
    ]
    newest = history.rows[-min(len(history.rows), MEMORY) :]
    return Outlook(
        version=live.name,
        age=coming - live.end,
        live_rows=live.rows,
        fresh_rows=sum(history.rows[max(0, end - window) if window else 0 : end]),
        rows_per_period=float(np.mean(newest)),
        drift=drift * history.unit,
        growth=growth * history.unit,
        excess=sum(beyond) / (len(beyond) + SHRINK) * history.unit if beyond else 0.0,
        delay=coming - end,
        window=window,
        ages=_surely_ages(history, scout_growth),
    )


def _aged(
    history: History, scout_growth: float, end: int, window: int | None, period: int
) -> float:
    """Relative loss of a scout on a period, without what it loses for want of rows."""
    rows = max(history.scouts.rows(end, window), 1)
    return history.scouts.loss(end, window, period) / history.scout_unit - scout_growth / rows


def _curve(history: History, window: int | None) -> tuple[float, float]:
    """Relative loss of scouts per period of age, and per 1 / rows, both at least 0."""
    from scipy.optimize import nnls

    scouts = history.scouts
    periods = range(max(FIRST + 1, len(scouts) - MEMORY), len(scouts))
    lines = [scouts.aging(period, window) for period in periods]
    found = np.concatenate(lines) if lines else np.empty((0, 3))
    if len(found) < 3:
        return 0.0, 0.0
    # Differences of a greater age vary more, by the square root, as a random walk does.
    weights = 1 / np.sqrt(found[:, 0])
    sizes = np.abs(found[:, :2]).max(axis=0) + 1e-15
    solved, _ = nnls(found[:, :2] / sizes * weights[:, None], found[:, 2] * weights)
    slope, growth = solved / sizes / history.scout_unit
    return float(slope), float(growth)


def _surely_ages(history: History, scout_growth: float) -> bool:
    """Whether older scouts lose more than fresh ones, beyond chance and want of rows."""
    periods = range(max(FIRST + 1, len(history.scouts) - MEMORY), len(history.scouts))
    lines = np.concatenate([history.scouts.aging(period, None) for period in periods])
    for age in TELLING_AGES:
        found = lines[lines[:, 0] == age]
        if len(found) < SURE_PERIODS:
            continue
        lost = found[:, 2] / history.scout_unit - scout_growth * found[:, 1]
        if lost.mean() > SURE_ERRORS * lost.std(ddof=1) / len(lost) ** 0.5:
            return True
    return False


def _scale_and_growth(history: History, scout_growth: float) -> tuple[float, float]:
    """The posterior means of `scale` and `growth`, beside an offset for each version."""
    versions = [v for v in history.versions if v.losses]
    lines: list[Floats] = []
    values: list[float] = []

    def add(
        drift: float, fewer: float, offsets: Mapping[int, float], value: float, sd: float
    ) -> None:
        line = np.zeros(2 + len(versions))
        line[:2] = drift, fewer
        for place, sign in offsets.items():
            line[2 + place] = sign
        lines.append(line / sd)
        values.append(value / sd)

    def aged(version: Version, period: int) -> float:
        return _aged(history, scout_growth, version.end, version.window, period)

    for period in range(max(2, len(history.scouts) - MEMORY), len(history.scouts)):
        tried = [place for place, v in enumerate(versions) if period in v.losses][-2:]
        if not tried:
            continue
        version = versions[tried[-1]]
        fresh = _aged(history, scout_growth, period, None, period)
        sd = float(np.hypot(PERIOD_SD, ROW_SD / np.sqrt(max(history.rows[period], 1))))
        known = max(sum(history.rows[:period]), 1)
        add(
            aged(version, period) - fresh,
            1 / max(version.rows, 1) - 1 / known,
            {tried[-1]: 1.0},
            version.losses[period] / history.unit
            - history.scouts.fresh(period, None) / history.scout_unit,
            2 * sd,
        )
        if len(tried) > 1:
            before = versions[tried[0]]
            add(
                aged(before, period) - aged(version, period),
                1 / max(before.rows, 1) - 1 / max(version.rows, 1),
                {},
                (before.losses[period] - version.losses[period]) / history.unit,
                sd,
            )
    add(1.0, 0.0, {}, SCALE, SCALE_SD)
    add(0.0, 1.0, {}, GROWTH, GROWTH_SD)
    for later in range(len(versions)):
        for earlier in range(later):
            add(0.0, 0.0, {later: 1.0, earlier: -1.0}, 0.0, VERSION_SD)
    solved = np.linalg.lstsq(np.array(lines), np.array(values), rcond=None)[0]
    return max(float(solved[0]), 0.2), max(float(solved[1]), 0.0)


def _window(history: History, scale: float, growth: float, scout_growth: float) -> int | None:
    """The number of newest periods to train on, if that is surely better than all of them."""
    scouts, best, most = history.scouts, None, 0.0
    for window in WINDOWS:
        periods = range(max(window + 1, len(scouts) - NEWEST), len(scouts))
        if len(periods) < WINDOW_PERIODS:
            continue
        gains = [
            scale
            * (
                _aged(history, scout_growth, i, None, i)
                - _aged(history, scout_growth, i, window, i)
            )
            - growth
            * (1 / max(sum(history.rows[i - window : i]), 1) - 1 / max(sum(history.rows[:i]), 1))
            for i in periods
        ]
        error = float(np.std(gains, ddof=1)) / len(gains) ** 0.5
        gain = float(np.mean(gains)) - WINDOW_ERRORS * error
        if gain > max(most, WINDOW_GAIN):
            best, most = window, gain
    return best
