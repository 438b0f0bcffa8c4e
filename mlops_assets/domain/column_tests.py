"""What is tested of one column: its distribution, missing values, range, new levels, stuckness.

The effect of a numeric distribution is its winsorised Wasserstein distance, in standard
deviations of the reference; that of everything else, being shares of rows, a Jensen-Shannon
distance. At 0.1 a mean moved by a tenth of a standard deviation, or 2% of rows do what none did,
or 62% what 50% did.
"""

import heapq
import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.effect_sizes import jensen_shannon, share_distance, wasserstein
from mlops_assets.domain.period_summary import ColumnSummary
from mlops_assets.domain.profile import ColumnProfile
from mlops_assets.domain.two_samples import (
    chi_square,
    kolmogorov_smirnov,
    outside_range,
    two_shares,
    unseen,
)

# From the most to the least telling, where several flag one column.
Test = Literal["missing rate", "stuck", "new levels", "range", "kolmogorov-smirnov", "chi-square"]

# Cells of a table below this expected count make its statistic unlike a chi-square (Cochran 1954).
LEAST_EXPECTED = 5.0
# A value that fills more of a column than this is what it is stuck at.
MAJORITY = 0.5
NAMED_LEVELS = 3
LONGEST_NAME = 40


@dataclass(frozen=True)
class Outcome:
    """One test of one column, not judged yet; `detail` says in words what was found."""

    column: str
    test: Test
    statistic: float
    p_value: float
    effect: float
    detail: str


def column_tests(name: str, reference: ColumnProfile, current: ColumnSummary) -> list[Outcome]:
    """All tests that can be made of the column; which ones does not depend on what they find."""
    tests: list[Outcome] = []
    if current.present and reference.present:
        tests.append(_stuck(name, reference, current))
        if reference.kind == "category":
            tests += _category_tests(name, reference, current)
        else:
            tests += [_range(name, reference, current), _distribution(name, reference, current)]
    # Where nothing is missing on either side the test could not flag, and costs no budget.
    if reference.missing + current.missing:
        before, now = reference.missing / reference.rows, current.missing / current.rows
        z, p = two_shares(reference.missing, reference.rows, current.missing, current.rows)
        detail = f"missing in {now:.1%} of rows, before in {before:.1%}"
        effect = share_distance(before, now)
        tests.insert(0, Outcome(name, "missing rate", z, p, effect, detail))
    return tests


def _distribution(name: str, reference: ColumnProfile, current: ColumnSummary) -> Outcome:
    quantiles, values = np.array(reference.quantiles), current.present_sample
    distance, p = kolmogorov_smirnov(quantiles, reference.present, values)
    effect = wasserstein(quantiles, values)
    detail = f"moved by {effect:.2f} standard deviations"
    return Outcome(name, "kolmogorov-smirnov", distance, p, effect, detail)


def _range(name: str, reference: ColumnProfile, current: ColumnSummary) -> Outcome:
    low, high = reference.quantiles[0], reference.quantiles[-1]
    share = current.outside / current.present
    p = outside_range(reference.present, current.outside, current.present)
    detail = (
        f"{share:.1%} of values outside {low:.6g} to {high:.6g}, the range before "
        f"(now {current.least:.6g} to {current.greatest:.6g})"
    )
    return Outcome(name, "range", share, p, share_distance(0.0, share), detail)


def _stuck(name: str, reference: ColumnProfile, current: ColumnSummary) -> Outcome:
    """Whether one value fills the column now that did not before.

    Only one value can fill most of a column, so the test is of one share; that its p-value is
    two-sided, though only a rise counts, pays for the choice.
    """
    values = current.present_sample
    value, count = _commonest(values)
    share = count / len(values)
    before = _rows_of(value, reference)
    if share <= MAJORITY or share * reference.present <= before:
        return Outcome(name, "stuck", share, 1.0, 0.0, "no value fills the column anew")
    _, p = two_shares(before, reference.present, count, len(values))
    effect = share_distance(before / reference.present, share)
    detail = f"{share:.1%} of values are {_shown(value)}, before {before / reference.present:.1%}"
    return Outcome(name, "stuck", share, p, effect, detail)


def _commonest(values: NDArray[np.float64]) -> tuple[object, int]:
    """The commonest value and its count; of equals the least."""
    if values.dtype == object:
        levels = Counter(values.tolist())
        count = max(levels.values())
        return min(level for level, found in levels.items() if found == count), count
    distinct, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    return float(distinct[most]), int(counts[most])


def _rows_of(value: object, reference: ColumnProfile) -> int:
    """Rows of the reference with this value; of a numeric one, at most, as quantiles tell it."""
    if reference.kind == "category":
        return reference.levels.get(str(value), 0)
    points = np.array(reference.quantiles)
    share = (int((points == value).sum()) + 1) / (len(points) - 1)
    return min(reference.present, int(np.ceil(share * reference.present)))


def _category_tests(name: str, reference: ColumnProfile, current: ColumnSummary) -> list[Outcome]:
    tests = []
    counts = Counter(reference.levels.values())
    once, twice = counts[1], counts[2]
    # A level that the reference saw once was new to the rest of the reference, so many-level
    # columns always have some. Where neither side has any, nothing is tested.
    if once + current.new:
        share = current.new / current.present
        z, p = unseen(once, twice, reference.present, current.new, current.present)
        effect = share_distance(once / reference.present, share)
        detail = f"new levels in {share:.1%} of values{_new_levels(reference, current)}"
        tests.append(Outcome(name, "new levels", z, p, effect, detail))
    table = _table(reference, current)
    if table.shape[1] > 1:
        statistic, p = chi_square(table)
        effect = jensen_shannon(*table)
        half = np.abs(table[0] / table[0].sum() - table[1] / table[1].sum()).sum() / 2
        detail = f"{half:.1%} of values changed level"
        tests.append(Outcome(name, "chi-square", statistic, p, effect, detail))
    return tests


def _table(reference: ColumnProfile, current: ColumnSummary) -> NDArray[np.float64]:
    """Counts (2, cells) of the levels, where rare ones share a cell with the new ones."""
    names = sorted(reference.levels)
    counts = np.array(
        [[side.get(name, 0) for name in names] for side in (reference.levels, current.levels)],
        dtype=np.float64,
    )
    counts = counts[:, np.argsort(-counts.sum(axis=0), kind="stable")]
    total = reference.present + current.present
    needed = LEAST_EXPECTED * total / min(reference.present, current.present)
    common = int((counts.sum(axis=0) >= needed).sum())
    rare = counts[:, common:].sum(axis=1, keepdims=True)
    rare[1] += current.new
    table = np.hstack([counts[:, :common], rare])
    if rare.sum() < needed and table.shape[1] > 1:
        table[:, -2] += table[:, -1]
        table = table[:, :-1]
    return np.asarray(table, dtype=np.float64)


def _new_levels(reference: ColumnProfile, current: ColumnSummary) -> str:
    sample = Counter(current.present_sample.tolist())
    new = heapq.nsmallest(
        NAMED_LEVELS + 1,
        (level for level in sample if level not in reference.levels),
        key=lambda level: (-sample[level], level),
    )
    named = ", ".join(_shown(level) for level in new[:NAMED_LEVELS])
    return (f": {named}" + (" and others" if len(new) > NAMED_LEVELS else "")) if named else ""


def _shown(value: object) -> str:
    """A value as reasons name it. It comes from requests: nothing in it is markup to anyone."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return (
        "'"
        + re.sub(r"[^\w .:+-]", "·", text[:LONGEST_NAME])
        + ("…'" if len(text) > LONGEST_NAME else "'")
    )
