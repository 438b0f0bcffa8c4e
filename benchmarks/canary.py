"""How often a canary is wrong, and how long it takes to be right, when it is looked at every week.

    python -m benchmarks.canary [--json FILE] [--runs 200] [--processes 2]

Simulated weeks of traffic with labels: the log loss of a classifier and the squared error of a
regression with heavy tails, weeks that differ in difficulty, two models whose errors are partly
their own. The challenger's share follows `domain.canary`, the verdicts are `domain.sequential`'s:
on the losses as they are, and on those less the champion's on the same row (paired, as the loop
does it). Beside them, in the same weeks, what is usual: the z-interval at 95%, looked at every
week, of the rows of all weeks in one pool (z-test) or of each week by itself like ours (z-weekly).

Two things would be false promotions, and each is counted: a challenger that is as good as the
champion called *better* (A/A traffic), and one that is worse by the margin or more *promoted*. An
equally good challenger that is promoted is no mistake: it is within the margin.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.canary import CanaryPolicy, CanaryState, advance, first_weight
from mlops_assets.domain.sequential import Comparison, Sample, Stratum, Verdict, compare

Floats = NDArray[np.float64]
WEEKS, WEEK, START = 24, timedelta(weeks=1), datetime(2026, 1, 5, tzinfo=UTC)
MARGIN, CONFIDENCE, EFFECT, PATIENCE, LIMIT = 0.02, 0.95, 0.1, 8, 0.05
TRAFFIC = (500, 2_000, 8_000)
RATIOS = {"equal (A/A)": 1.0, "worse by the margin": 1.0 + MARGIN, "worse by 10%": 1.1,
          "better by 5%": 0.95}  # fmt: skip
METHODS = ("sequential", "paired", "z-weekly", "z-test")
Draw = Callable[[np.random.Generator, int, float], tuple[Floats, Floats]]


def log_losses(draw: np.random.Generator, n: int, own: float) -> tuple[Floats, Floats]:
    """Log losses of champion and challenger on the same n rows; `own` scales the latter's error."""
    truth = draw.normal(-1.3 + draw.normal(0, 0.3), 1.3, n)
    happened = draw.random(n) < _sigmoid(truth)
    shared = truth + draw.normal(0, 0.3, n)
    told = (shared + 0.7 * draw.standard_normal(n), shared + own * draw.standard_normal(n))
    signed = [np.where(happened, -logit, logit) for logit in told]
    return np.logaddexp(0, signed[0]), np.logaddexp(0, signed[1])


def squared_errors(draw: np.random.Generator, n: int, own: float) -> tuple[Floats, Floats]:
    """Squared errors on the same n rows, with noise of Student's t (6 degrees of freedom)."""
    noise = draw.standard_t(6, n) * math.exp(draw.normal(0, 0.2)) + draw.normal(0, 0.3, n)
    champion = noise + 0.7 * draw.standard_normal(n)
    return champion**2, (noise + own * draw.standard_normal(n)) ** 2


WORLDS: dict[str, Draw] = {"log loss": log_losses, "squared error": squared_errors}


@dataclass(frozen=True)
class Case:
    """One cell of the table: a loss, the rows of a week, how much the challenger loses."""

    loss: str
    rows: int
    challenger: str
    own: float
    champion_loss: float
    sticky: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a method said of one simulated canary, and of the same weeks split in halves."""

    action: str
    periods: int
    better: bool
    ever_better: bool
    ever_worse: bool


def simulate(case: Case, seed: int) -> dict[str, Outcome]:
    """Half a year of weeks, each looked at once; every method walks its own canary on them."""
    draw = np.random.default_rng(seed)
    canaries = {method: _Canary(case, method) for method in METHODS}
    # A week's subjects come back every week, and each keeps its place in the split.
    places = draw.random(case.rows)
    habits = WORLDS[case.loss](draw, case.rows, case.own) if case.sticky else None
    for week in range(WEEKS):
        champion, challenger = WORLDS[case.loss](draw, case.rows, case.own)
        if habits:
            champion, challenger = (champion + habits[0]) / 2, (challenger + habits[1]) / 2
        else:
            places = draw.random(case.rows)
        less: dict[str, Floats] = {"paired": champion}
        plain = _stratum(case, champion, challenger, places < 0.5)
        for method, canary in canaries.items():
            # Paired: each loss less the champion's on the same row, which leaves it with 0.
            rows = [
                losses - less[method] if method in less else losses
                for losses in (champion, challenger)
            ]
            half = _stratum(case, rows[0], rows[1], places < 0.5) if method in less else plain
            canary.look(week, rows, places, half)
    return {method: canary.outcome() for method, canary in canaries.items()}


class _Canary:
    """One method's canary, and beside it a plain half-and-half split of the same weeks."""

    def __init__(self, case: Case, method: str) -> None:
        self.case, self.method = case, method
        self.policy = CanaryPolicy(MARGIN * case.champion_loss, PATIENCE * WEEK)
        weight = first_weight(case.rows, PATIENCE, self.policy)
        self.state = CanaryState(weight, START, 0)
        self.own: list[Stratum] = []
        self.halves: list[Stratum] = []
        self.action, self.periods = "hold", 0
        self.better = self.ever_better = self.ever_worse = False

    def look(self, week: int, rows: Sequence[Floats], places: Floats, half: Stratum) -> None:
        self.halves.append(half)
        verdict = self._compare(self.halves).verdict
        self.ever_better |= verdict == "better"
        self.ever_worse |= verdict == "worse"
        if self.action in ("promote", "stop"):
            return
        stratum = _stratum(self.case, rows[0], rows[1], places < self.state.weight / 100)
        self.own.append(stratum)
        comparison = self._compare(self.own)
        now = START + (week + 1) * WEEK
        labelled = self.state.rows_at_step + stratum.challenger.rows
        self.state = CanaryState(self.state.weight, self.state.since, labelled)
        step = advance(self.state, comparison, self.policy, now)
        self.action, self.periods = step.action, week + 1
        self.better |= comparison.verdict == "better"
        if step.action == "advance":
            self.state = CanaryState(step.weight, now, 0)

    def outcome(self) -> Outcome:
        return Outcome(self.action, self.periods, self.better, self.ever_better, self.ever_worse)

    def _compare(self, strata: Sequence[Stratum]) -> Comparison:
        if self.method.startswith("z"):
            return naive(strata, pooled=self.method == "z-test")
        effect = EFFECT * self.case.champion_loss
        return compare(strata, effect=effect, confidence=CONFIDENCE)


def _stratum(case: Case, champion: Floats, challenger: Floats, ours: NDArray[np.bool_]) -> Stratum:
    names = np.arange(len(ours)) if case.sticky else None
    return Stratum(
        Sample.of(champion[~ours], None if names is None else names[~ours]),
        Sample.of(challenger[ours], None if names is None else names[ours]),
    )


def naive(strata: Sequence[Stratum], *, pooled: bool) -> Comparison:
    """The z-interval of all rows so far, as if this were the only look."""
    if pooled:
        strata = [Stratum(*(_pooled(samples) for samples in _sides(strata)))]
    used = [stratum for stratum in strata if stratum.weight > 0]
    total = sum(stratum.weight for stratum in used)
    difference = variance = 0.0
    for stratum in used:
        share = stratum.weight / total
        ours, theirs = stratum.challenger, stratum.champion
        difference += share * (ours.mean - theirs.mean)
        variance += share**2 * (ours.variance / ours.rows + theirs.variance / theirs.rows)
    width = 1.96 * math.sqrt(variance) if used else math.inf
    low, high = difference - width, difference + width
    verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "not_yet"
    rows = [sum(sample.rows for sample in samples) for samples in _sides(used)]
    return Comparison(verdict, difference, low, high, rows[0], rows[1], "one look")


def _sides(strata: Sequence[Stratum]) -> tuple[list[Sample], list[Sample]]:
    return [s.champion for s in strata], [s.challenger for s in strata]


def _pooled(samples: Sequence[Sample]) -> Sample:
    n = sum(sample.rows for sample in samples)
    mean = sum(sample.rows * sample.mean for sample in samples) / max(n, 1)
    squares = sum(
        (s.rows - 1) * s.variance + s.rows * (s.mean - mean) ** 2 for s in samples if s.rows
    )
    return Sample(n, mean, squares / max(n - 1, 1))


def cases() -> list[Case]:
    """All cells; the challenger's own error is found such that its loss has the wanted ratio."""
    found = []
    for loss, world in WORLDS.items():
        base = _mean_losses(world, 0.7)[0]
        for name, ratio in RATIOS.items():
            own = 0.7 if ratio == 1 else _solve(world, ratio * base)
            found += [Case(loss, rows, name, own, base) for rows in TRAFFIC]
        found.append(Case(loss, 2_000, "equal (A/A)", 0.7, base, sticky=True))
    return found


def _mean_losses(world: Draw, own: float) -> tuple[float, float]:
    draw = np.random.default_rng(0)
    weeks = [world(draw, 2_000, own) for _ in range(200)]
    champion, challenger = (float(np.mean([week[place] for week in weeks])) for place in (0, 1))
    return champion, challenger


def _solve(world: Draw, wanted: float) -> float:
    low, high = 0.0, 3.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_losses(world, middle)[1] < wanted else (low, middle)
    return (low + high) / 2


def summary(case: Case, method: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Shares and the median number of weeks of one cell."""
    n = len(outcomes)
    ended = [found.periods for found in outcomes if found.action in ("promote", "stop")]
    return {
        "loss": case.loss, "rows_per_week": case.rows, "subjects_return": case.sticky,
        "challenger": case.challenger, "method": method, "runs": n,
        "promoted": sum(found.action == "promote" for found in outcomes) / n,
        "stopped": sum(found.action == "stop" for found in outcomes) / n,
        "called_better": sum(found.better for found in outcomes) / n,
        "median_weeks": median(ended) if ended else None,
        "halves_ever_better": sum(found.ever_better for found in outcomes) / n,
        "halves_ever_worse": sum(found.ever_worse for found in outcomes) / n,
    }  # fmt: skip


def run(runs: int, processes: int) -> list[dict[str, Any]]:
    """All cells; those where a promotion would be false get all runs, the others a fifth."""
    results = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending = []
        for case in cases():
            n = runs if RATIOS[case.challenger] in (1.0, 1.0 + MARGIN) else max(runs // 5, 1)
            n = max(n // 4, 1) if case.sticky else n
            chunk = max(1, n // (4 * processes))
            pending.append((case, pool.map(simulate, [case] * n, range(n), chunksize=chunk)))
        for case, found in pending:
            outcomes = list(found)
            results += [summary(case, m, [one[m] for one in outcomes]) for m in METHODS]
    return results


def false_promotions(results: Sequence[dict[str, Any]], method: str) -> dict[str, float]:
    """The worst cell's share of each kind of false promotion."""
    own = [cell for cell in results if cell["method"] == method]
    equal = [cell for cell in own if RATIOS[cell["challenger"]] == 1]
    worse = [cell for cell in own if RATIOS[cell["challenger"]] > 1]
    return {
        "A/A called better, canary": max((cell["called_better"] for cell in equal), default=0.0),
        "A/A called better, halves": max(
            (cell["halves_ever_better"] for cell in equal), default=0.0
        ),
        "worse by the margin or more, promoted": max(
            (cell["promoted"] for cell in worse), default=0.0
        ),
    }


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    head = ("loss", "rows/week", "challenger", "method", "promoted", "stopped", "better", "weeks",
            "halves: better", "worse")  # fmt: skip
    widths = (14, 11, 20, 11, 9, 8, 8, 6, 15, 7)
    print("".join(f"{name:<{w}}" for name, w in zip(head, widths, strict=True)))
    for cell in results:
        rows = f"{cell['rows_per_week']}{' again' if cell['subjects_return'] else ''}"
        weeks = "-" if cell["median_weeks"] is None else f"{cell['median_weeks']:g}"
        values = (
            cell["loss"], rows, cell["challenger"], cell["method"], f"{cell['promoted']:.1%}",
            f"{cell['stopped']:.1%}", f"{cell['called_better']:.1%}", weeks,
            f"{cell['halves_ever_better']:.1%}", f"{cell['halves_ever_worse']:.1%}",
        )  # fmt: skip
        print("".join(f"{value:<{w}}" for value, w in zip(values, widths, strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and fail where a false-promotion rate of ours is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results as JSON, too")
    parser.add_argument("--runs", type=int, default=200, help="simulated canaries per cell")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    results = run(options.runs, options.processes)
    show(results)
    verdicts = {method: false_promotions(results, method) for method in METHODS}
    print(f"\nFalse promotions, worst cell (limit {LIMIT:.0%}), looking every week:")
    for method, found in verdicts.items():
        print(f"  {method:<11}" + ", ".join(f"{name} {rate:.1%}" for name, rate in found.items()))
    print(f"{time.perf_counter() - started:.0f} s")
    if options.json:
        content = {"results": results, "false_promotions": verdicts, "limit": LIMIT}
        options.json.write_text(json.dumps(content, indent=1))
    ours = [rate for method in METHODS[:2] for rate in verdicts[method].values()]
    return int(max(ours) > LIMIT)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


if __name__ == "__main__":
    sys.exit(main())
