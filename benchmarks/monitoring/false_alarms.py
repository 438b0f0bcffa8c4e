"""How often a drift report flags anything although nothing changed, by sizes of both sides.

The columns are those that break tests: ties, zeros with a tail, rare events, heavy tails, mostly
missing, constant, two to thousands of levels, levels that never come twice.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.drift import judge
from mlops_assets.domain.period_summary import Batch, summarise
from mlops_assets.domain.profile import Profile, profile_levels, profile_numbers

REFERENCES = (500, 2_000, 5_000, 20_000)
PERIODS = (200, 500, 2_000, 10_000, 100_000)
# With the default floor for the effect trifles are passed over too; without, tests stand alone.
FLOORS = (0.0, 0.1)


def unchanged(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    """Twenty columns of rows that always come from the same source."""
    normal = rng.normal(size=rows)
    columns: dict[str, Column] = {
        "normal": normal,
        "heavy tail": rng.standard_t(1.5, rows),
        "lognormal": rng.lognormal(3, 1, rows),
        "uniform": rng.random(rows),
        "2% missing": np.where(rng.random(rows) < 0.02, np.nan, normal**2),
        "half missing": np.where(rng.random(rows) < 0.5, np.nan, rng.normal(size=rows)),
        "rarely there": np.where(rng.random(rows) < 0.998, np.nan, rng.normal(size=rows)),
        "small counts": rng.poisson(2, rows).astype(float),
        "counts": rng.poisson(300, rows).astype(float),
        "four values": rng.choice([50.0, 100.0, 180.0, 300.0], rows),
        "zeros with a tail": np.where(rng.random(rows) < 0.9, 0.0, rng.lognormal(0, 1, rows)),
        "even flag": (rng.random(rows) < 0.5).astype(float),
        "rare flag": (rng.random(rows) < 0.003).astype(float),
        "constant": np.ones(rows),
        "score": rng.beta(2, 5, rows),
    }
    five = [0.4, 0.3, 0.2, 0.06, 0.03, 0.01]
    columns["two levels"] = _coded(rng.random(rows) < 0.52, 2)
    columns["five levels, missing"] = _coded(rng.choice(6, rows, p=five), 6, 4)
    columns["60 uneven levels"] = _coded(_zipf(rng, 60, rows), 60)
    columns["4,000 levels"] = _coded((4_000 * rng.random(rows) ** 3).astype(int), 4_000)
    columns["hardly a level twice"] = _coded(rng.integers(0, 1_000_000, rows), 1_000_000)
    return columns


def _zipf(rng: np.random.Generator, levels: int, rows: int) -> np.ndarray:
    weights = 1 / np.arange(1, levels + 1) ** 1.3
    return rng.choice(levels, rows, p=weights / weights.sum())


def _coded(numbers: np.ndarray, levels: int, missing: int = -1) -> Coded:
    present, codes = np.unique(numbers.astype(int), return_inverse=True)
    texts = [MISSING_CATEGORY if one == missing else f"L{one}" for one in present.tolist()]
    return Coded(codes, tuple(texts))


def first_rows(columns: dict[str, Column], rows: int) -> dict[str, Column]:
    """The first rows of every column."""
    return {
        name: Coded(one.codes[:rows], one.values) if isinstance(one, Coded) else one[:rows]
        for name, one in columns.items()
    }


def profile(columns: dict[str, Column]) -> Profile:
    """The reference profile of these rows."""
    return Profile(
        {
            name: profile_levels(one.texts()) if isinstance(one, Coded) else profile_numbers(one)
            for name, one in columns.items()
        }
    )


def trial(
    seed: int, references: Sequence[int], periods: Sequence[int], rate: float
) -> dict[tuple[int, int, float], tuple[str, ...]]:
    """By size of reference and period and by floor: what one report of each pair flags."""
    rng = np.random.default_rng(seed)
    reference, period = unchanged(rng, max(references)), unchanged(rng, max(periods))
    profiles = {rows: profile(first_rows(reference, rows)) for rows in references}
    flagged = {}
    for rows in periods:
        batch = Batch(first_rows(period, rows))
        for known, one in profiles.items():
            summary = summarise(one, [batch], seed=seed)
            report = judge(one, summary, false_alarm_rate=rate, min_effect=0, min_rows=1)
            for floor in FLOORS:
                flagged[known, rows, floor] = tuple(
                    f"{test.column}: {test.test}"
                    for test in report.columns
                    if test.flagged and test.effect >= floor
                )
    return flagged


def measure(trials: int, rate: float, processes: int = 2) -> list[dict[str, Any]]:
    """One record per pair of sizes and floor: how many reports flagged anything, and what."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_standard_trial, range(trials), [rate] * trials))
    return [
        {
            "reference_rows": cell[0],
            "period_rows": cell[1],
            "min_effect": cell[2],
            "budget": rate,
            "reports": trials,
            "flagged": sum(bool(one[cell]) for one in found),
            "what": sorted(test for one in found for test in one[cell]),
        }
        for cell in found[0]
    ]


def _standard_trial(seed: int, rate: float) -> dict[tuple[int, int, float], tuple[str, ...]]:
    return trial(seed, REFERENCES, PERIODS, rate)
