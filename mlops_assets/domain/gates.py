"""What a challenger must prove before it may serve; each gate says what it saw and its limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.evaluation import LOWER_IS_BETTER, Floats, paired_interval
from mlops_assets.domain.parity import ParityResult

# Below this a bootstrap interval is too narrow to be trusted (one row would have no width).
LEAST_ROWS = 30
NO_CHAMPION = "there is no champion to compare with"


@dataclass(frozen=True)
class GateResult:
    """A gate's verdict, why, and the numbers behind it."""

    name: str
    passed: bool
    reason: str
    evidence: dict[str, float] = field(default_factory=dict)


def refusals(results: Sequence[GateResult]) -> str:
    """What the gates that were not passed said, in one line."""
    return "; ".join(f"{gate.name}: {gate.reason}" for gate in results if not gate.passed)


@dataclass(frozen=True)
class SliceRule:
    """Values of `column` with `min_rows` rows may not surely lose more than this ratio."""

    column: str
    min_rows: int
    max_loss_ratio: float


def minimum_quality(metrics: Mapping[str, float], minimum: Mapping[str, float]) -> GateResult:
    """Every limit holds: a ceiling for losses, a floor for scores. An absent metric fails."""
    notes, passed = [], True
    for name, limit in minimum.items():
        value = metrics.get(name, float("nan"))
        ceiling = name in LOWER_IS_BETTER
        passed &= value <= limit if ceiling else value >= limit
        told = f"{value:.4g}" if name in metrics else "undefined on these rows"
        notes.append(f"{name} {told} ({'at most' if ceiling else 'at least'} {limit:g})")
    evidence = {name: metrics[name] for name in minimum if name in metrics}
    return GateResult("minimum_quality", passed, ", ".join(notes) or "no limits are set", evidence)


def not_worse_than_champion(
    challenger_losses: Floats,
    champion_losses: Floats | None,
    margin: float,
    confidence: float,
    seed: int,
    absent: str = NO_CHAMPION,
) -> GateResult:
    """Non-inferiority on the same rows; `absent` says why the champion has no losses on them.

    Passes when the upper end of the paired bootstrap interval of the difference in loss is at
    most `margin` of the champion's loss: doubt counts against the challenger. Raises DataError
    if the rows are not the same number.
    """
    name = "not_worse_than_champion"
    if champion_losses is None:
        return GateResult(name, True, absent)
    if len(challenger_losses) < LEAST_ROWS:
        reason = f"{len(challenger_losses)} rows are too few to compare on, {LEAST_ROWS} needed"
        return GateResult(name, False, reason)
    interval = paired_interval(challenger_losses, champion_losses, confidence, seed)
    champion = float(np.mean(champion_losses))
    limit = margin * champion
    passed = interval.upper <= limit
    reason = (
        f"the loss is {interval.mean:+.4f} against the champion's {champion:.4f}; with "
        f"{confidence:.0%} confidence at most {interval.upper:+.4f} "
        f"({'within' if passed else 'above'} the margin of {limit:+.4f})"
    )
    evidence = {
        "difference": interval.mean,
        "lower": interval.lower,
        "upper": interval.upper,
        "limit": limit,
        "champion_loss": champion,
    }
    return GateResult(name, passed, reason, evidence)


def slices_hold(
    slice_values: Mapping[str, NDArray[Any]],
    challenger_losses: Floats,
    champion_losses: Floats | None,
    slices: Sequence[SliceRule],
    confidence: float,
    seed: int,
    absent: str = NO_CHAMPION,
) -> GateResult:
    """No slice is sacrificed: `slice_values` holds the (n,) values of each rule's column.

    A slice fails when its loss surely exceeds `max_loss_ratio` times the champion's on it; the
    confidence is shared among the slices (Bonferroni), so many slices do not fail one by chance.
    """
    name = "slices_hold"
    if champion_losses is None:
        return GateResult(name, True, absent)
    judged = [
        (rule, f"{rule.column}={value}", rows)
        for rule in slices
        for value, rows in _parts(slice_values[rule.column])
        if len(rows) >= max(rule.min_rows, LEAST_ROWS)
    ]
    failures, evidence = [], {}
    for rule, label, rows in judged:
        ours, theirs = challenger_losses[rows], champion_losses[rows]
        evidence[label] = float(ours.mean() / max(float(theirs.mean()), 1e-12))
        shared = 1 - (1 - confidence) / len(judged)
        interval = paired_interval(
            ours, rule.max_loss_ratio * theirs, shared, seed, _resamples(shared)
        )
        if interval.lower > 0:
            failures.append(f"{label} {evidence[label]:.3f} (limit {rule.max_loss_ratio:g})")
    if failures:
        reason = "loss as a ratio of the champion's surely too high: " + ", ".join(failures)
    elif judged:
        reason = f"none of {len(judged)} slices is surely worse than its limit"
    else:
        reason = "no slice is large enough to judge" if slices else "no slices are declared"
    return GateResult(name, not failures, reason, evidence)


def calibrated(error: float | None, limit: float | None) -> GateResult:
    """The expected calibration error stays within the limit, if both exist."""
    if error is None:
        return GateResult("calibrated", True, "a regression has no probabilities to calibrate")
    if limit is None:
        reason = f"expected calibration error {error:.4f}; no limit is set"
        return GateResult("calibrated", True, reason, {"calibration_error": error})
    passed = error <= limit
    reason = f"expected calibration error {error:.4f} ({'within' if passed else 'above'} {limit:g})"
    return GateResult("calibrated", passed, reason, {"calibration_error": error, "limit": limit})


def serves_as_trained(parity: ParityResult, latency_ms: float, limit_ms: float) -> GateResult:
    """The bundle, loaded as serving loads it, says what the pipeline says, and fast enough."""
    fast = latency_ms <= limit_ms
    reason = (
        f"{parity.reason}; one row takes {latency_ms:.3g} ms "
        f"({'within' if fast else 'above'} {limit_ms:g} ms)"
    )
    evidence = {
        "share_within": parity.share_within,
        "max_difference": parity.max_difference,
        "latency_ms": latency_ms,
        "limit_ms": limit_ms,
    }
    return GateResult("serves_as_trained", parity.holds and fast, reason, evidence)


def documented(missing: Sequence[str], required: bool) -> GateResult:
    """People have said what the model is for, who answers for it, and where it must not be used.

    `missing` are the places in defs.yaml where they have not.
    """
    name = "documented"
    if not missing:
        return GateResult(name, True, "purpose, owner and limits are filled in")
    places = ", ".join(missing)
    if required:
        return GateResult(
            name, False, f"fill in {places} in defs.yaml: gates.require_card asks for it"
        )
    return GateResult(name, True, f"not filled in, and not required: {places}")


def _parts(values: NDArray[Any]) -> list[tuple[str, NDArray[np.intp]]]:
    """Each distinct value as text with its row numbers, in sorted order."""
    names, where = np.unique(np.asarray(values).astype(str), return_inverse=True)
    return [(str(name), np.flatnonzero(where == index)) for index, name in enumerate(names)]


def _resamples(confidence: float) -> int:
    """Enough that a handful of resamples lie beyond the interval's end."""
    return int(min(max(1000, 10 / (1 - confidence)), 4000))
