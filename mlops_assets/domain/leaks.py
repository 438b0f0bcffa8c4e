"""Columns that give the answer away: they predict it alone, or exist only once it is known.

After Kaufman, Rosset and Perlich, "Leakage in Data Mining" (KDD 2011): what a model may use is
what was known at the event, and a single column that predicts too well mostly was not. Whether
it was is known to people only, so each suspicion comes with its evidence.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from mlops_assets.domain.contract import Task
from mlops_assets.domain.profiling import numeric_values

# The first part of the rows learns, the rest, later in time, is predicted.
LEARNING_SHARE = 0.7
BINS = 64
# A level's mean counts as if so many rows of the overall mean stood beside it.
PRIOR_ROWS = 5.0
LEAST_ROWS = 100
# So many rows tell; more only take longer.
ENOUGH_ROWS = 50_000
# Beyond `CERTAIN` a column is left out of a drafted spec, beyond `SUSPECT` it is only named.
CERTAIN = {"classes": 0.98, "regression": 0.9}
SUSPECT = {"classes": 0.93, "regression": 0.75}
# Rows that rule out most sums at once.
QUICK = 200
# Missing in the same rows as the label, as intersection over union.
SAME_ROWS = 0.95
LEAST_MISSING = 5
# A column that is there for one class only: so nearly always, and as unlikely by chance.
ONE_CLASS = 0.999
BY_CHANCE = 1e-9


@dataclass(frozen=True)
class Leak:
    """A column that may give the label away.

    `certain` enough to be left out unasked; `proven` where the label is computed from it.
    """

    column: str
    reason: str
    certain: bool
    proven: bool = False


def find_leaks(
    features: pd.DataFrame, truth: pd.Series, target: pd.Series, task: Task
) -> dict[str, Leak]:
    """Suspected leaks by column; rows are in order of time.

    `truth` is the label's column as it came, `target` the label that is predicted (text classes,
    or floats), missing where it is not known.
    """
    step = max(1, -(-len(features) // ENOUGH_ROWS))
    features, truth, target = features[::step], truth[::step], target[::step]
    found: dict[str, Leak] = {}
    for name in map(str, features.columns):
        column = features[name]
        leak = _missing_alike(column, truth) or _too_good(column, target, task)
        if leak is None or not leak.certain:
            leak = _one_class(column, target, task) or leak
        if leak:
            found[name] = leak
    for first, second, sign in _sums(features, truth):
        for name in (first, second):
            reason = f"{first} {sign} {second} is {truth.name} in every row"
            found[name] = Leak(name, reason, certain=True, proven=True)
    return found


def single_score(feature: pd.Series, target: pd.Series, task: Task) -> float | None:
    """How well one column alone predicts later rows: ROC AUC of classes, R2 of a regression.

    The prediction is the mean of the column's level or quantile bin in the earlier rows. None
    where there are too few rows, or only one class, to tell.
    """
    known = target.notna().to_numpy()
    feature, target = feature[known], target[known]
    cut = int(len(target) * LEARNING_SHARE)
    if len(target) < LEAST_ROWS:
        return None
    groups = _groups(feature, cut)
    if task == "regression":
        values = target.to_numpy(dtype=np.float64)
        guess = _group_means(groups, values, cut)[cut:]
        spread = float(((values[cut:] - values[cut:].mean()) ** 2).sum())
        return 1 - float(((values[cut:] - guess) ** 2).sum()) / spread if spread else None
    classes = target.astype(str).to_numpy()
    scores, weights = [], []
    for name in np.unique(classes):
        is_class = (classes == name).astype(np.float64)
        auc = _auc(_group_means(groups, is_class, cut)[cut:], is_class[cut:] == 1)
        if auc is not None:
            scores.append(auc)
            weights.append(is_class[cut:].sum())
    return float(np.average(scores, weights=weights)) if scores else None


def _too_good(feature: pd.Series, target: pd.Series, task: Task) -> Leak | None:
    score = single_score(feature, target, task)
    family = "regression" if task == "regression" else "classes"
    if score is None or score < SUSPECT[family]:
        return None
    measure = "R2" if task == "regression" else "AUC"
    reason = f"predicts the label of later rows by itself ({measure} {score:.3f})"
    return Leak(str(feature.name), reason, certain=score >= CERTAIN[family])


def _missing_alike(feature: pd.Series, truth: pd.Series) -> Leak | None:
    here, there = feature.isna().to_numpy(), truth.isna().to_numpy()
    if there.sum() < LEAST_MISSING or there.all() or not here.any():
        return None
    alike = (here & there).sum() / (here | there).sum()
    if alike < SAME_ROWS:
        return None
    exactly = "exactly" if alike == 1 else f"in {alike:.0%} of the cases"
    reason = f"missing {exactly} where the label is: known only afterwards"
    return Leak(str(feature.name), reason, certain=True)


def _one_class(feature: pd.Series, target: pd.Series, task: Task) -> Leak | None:
    """A column that is filled in, or left empty, for the rows of one class alone."""
    if task == "regression":
        return None
    known = target.notna().to_numpy()
    classes = target[known].astype(str)
    filled = feature[known].notna().to_numpy()
    for rows, how in ((filled, "filled in"), (~filled, "missing")):
        if rows.all() or not rows.any():
            continue
        shares = classes[rows].value_counts(normalize=True)
        name, share = shares.index[0], float(shares.iloc[0])
        chance = float((classes == name).mean()) ** int(rows.sum())
        if share >= ONE_CLASS and chance < BY_CHANCE:
            reason = f"{how} only where the label is {name!r}: known only afterwards"
            return Leak(str(feature.name), reason, certain=True)
    return None


def _sums(features: pd.DataFrame, truth: pd.Series) -> list[tuple[str, str, str]]:
    """Pairs of numeric columns whose sum or difference is the label."""
    if truth.dtype.kind not in "iuf":
        return []
    label = numeric_values(truth).to_numpy()
    numbers = {
        str(name): numeric_values(features[name]).to_numpy()
        for name in features.columns
        if features[name].dtype.kind in "iuf"
    }
    found = []
    for first, second in combinations(numbers, 2):
        a, b = numbers[first], numbers[second]
        for one, other, sign, made in (
            (first, second, "+", a + b),
            (first, second, "-", a - b),
            (second, first, "-", b - a),
        ):
            if not np.isclose(made[:QUICK], label[:QUICK], equal_nan=True).any():
                continue
            both = ~np.isnan(made) & ~np.isnan(label)
            moving = both.sum() >= LEAST_ROWS and np.ptp(a[both]) > 0 and np.ptp(b[both]) > 0
            if moving and np.allclose(made[both], label[both], rtol=1e-9, atol=1e-9):
                found.append((one, other, sign))
    return found


def _groups(feature: pd.Series, cut: int) -> np.ndarray:
    """A group number per row; -1 for levels that the first `cut` rows do not have."""
    if feature.dtype.kind in "iufb":
        numbers = numeric_values(feature).to_numpy()
        learned = numbers[:cut][~np.isnan(numbers[:cut])]
        if not len(learned):
            return np.zeros(len(numbers), dtype=np.int64)
        edges = np.unique(np.quantile(learned, np.linspace(0, 1, BINS + 1)[1:-1]))
        # A value that is an edge, such as a frequent zero, is a group of its own.
        bins = np.digitize(numbers, edges) + np.digitize(numbers, edges, right=True)
        return np.where(np.isnan(numbers), 2 * len(edges) + 1, bins)
    text = feature.astype("object").where(feature.notna(), "").astype(str)
    levels = {level: place for place, level in enumerate(text.iloc[:cut].unique())}
    return text.map(levels).fillna(-1).to_numpy(dtype=np.int64)


def _group_means(groups: np.ndarray, values: np.ndarray, cut: int) -> np.ndarray:
    mean = float(values[:cut].mean())
    shifted = groups + 1
    size = int(shifted.max()) + 1
    count = np.bincount(shifted[:cut], minlength=size)
    total = np.bincount(shifted[:cut], weights=values[:cut], minlength=size)
    guess: np.ndarray = ((total + PRIOR_ROWS * mean) / (count + PRIOR_ROWS))[shifted]
    return guess


def _auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve, ties counted half (Mann and Whitney, 1947)."""
    ups, downs = int(positive.sum()), int((~positive).sum())
    if not ups or not downs:
        return None
    ranks = pd.Series(scores).rank().to_numpy()
    return float((ranks[positive].sum() - ups * (ups + 1) / 2) / (ups * downs))
