"""How often the quality alarms are wrong, how soon they are right, and what estimates are worth.

    python -m benchmarks.quality [--json FILE] [--runs 100]

Real flights, scored by a model that never saw them and put in random order, so that nothing
changes but what is changed on purpose: labels flipped at once or more of them each period, or in
some of the flights only, labels that arrive in an order of their own, another mix of flights. All
verdicts are those of
`domain.performance` at its defaults, each period with the periods before it.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.flights import NUMBERS, Flights, scored_flights
from mlops_assets.domain.contract import ContractColumn
from mlops_assets.domain.estimation import estimate, fit_estimator
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.performance import LossReference, PerformanceReport, performance
from mlops_assets.domain.segments import SegmentReference, Segments, segment_reference

RELEASES = (200, 500, 2_000, 12_000)
ROWS = (200, 500, 2_000, 10_000)
PERIODS = 12
INPUTS = tuple(ContractColumn(name, "number", True) for name in NUMBERS)
Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Release:
    """What later periods are compared with."""

    loss: LossReference
    segments: SegmentReference


@dataclass(frozen=True)
class World:
    """Flights, and the random draws of one table."""

    flights: Flights
    rng: np.random.Generator
    runs: int

    def release(self, rows: int) -> Release:
        """A release's holdout."""
        drawn = self.rng.integers(len(self.flights.y), size=rows)
        y, outputs = self.flights.y[drawn], self.flights.outputs[drawn]
        return Release(
            LossReference.of(row_losses("binary", y, outputs)),
            segment_reference(
                "binary",
                y,
                outputs,
                self.inputs(drawn),
                INPUTS,
                blocks=np.zeros(rows, dtype=np.intp),
            ),
        )

    def inputs(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs of these rows."""
        return {name: values[rows] for name, values in self.flights.frame.items()}

    def judge(
        self,
        drawn: np.ndarray,
        y: np.ndarray,
        release: Release,
        *,
        known: np.ndarray | None = None,
        past: Any = (),
        by_segments: bool = True,
    ) -> PerformanceReport:
        """The verdict on the rows `drawn`, where only `known` labels are there."""
        if known is None:
            known = np.ones(len(drawn), dtype=bool)
        outputs = self.flights.outputs[drawn]
        return performance(
            "binary",
            y[known],
            outputs[known],
            ("0", "1"),
            predictions=len(y),
            reference=release.loss,
            min_rows=100,
            min_coverage=0.75,
            false_alarm_rate=0.01,
            previous_losses=None,
            seed=0,
            past=past,
            missing_outputs=outputs[~known],
            segments=Segments(
                release.segments,
                self.inputs(drawn[known]),
                np.zeros(int(known.sum()), dtype=np.intp),
                self.inputs(drawn[~known]),
            )
            if by_segments
            else None,
        )

    def follow(
        self, release_rows: int, rows: int, periods: int, first: float = 0.0, step: float = 0.0
    ) -> list[PerformanceReport]:
        """A version's reports; `first` of the labels are flipped, and `step` more each period."""
        release = self.release(release_rows)
        reports: list[PerformanceReport] = []
        for period in range(periods):
            drawn = self.rng.integers(len(self.flights.y), size=rows)
            flipped = self.rng.random(rows) < first + step * period
            y = np.where(flipped, 1 - self.flights.y[drawn], self.flights.y[drawn])
            past = [report.sample for report in reports if report.sample]
            reports.append(self.judge(drawn, y, release, past=past))
        return reports


def quiet(world: World) -> Table:
    """False alarms per 100 periods in which nothing changed."""
    found = []
    for release in RELEASES:
        for rows in ROWS:
            reports = [
                report for _ in range(world.runs) for report in world.follow(release, rows, PERIODS)
            ]
            found.append(
                {
                    "release": release,
                    "rows": rows,
                    "harmed": 100 * float(np.mean([r.harmed for r in reports])),
                    "decaying": 100 * float(np.mean([r.decaying for r in reports])),
                    "either": 100 * float(np.mean([r.harmed or r.decaying for r in reports])),
                }
            )
    return found


def decays(world: World) -> Table:
    """One more label of a hundred flipped each period: when it is noticed."""
    found = []
    for release in RELEASES:
        for rows in ROWS[1:]:
            first = {"harmed": [], "decaying": [], "either": []}  # type: dict[str, list[int]]
            for _ in range(world.runs):
                reports = world.follow(release, rows, PERIODS, 0.01, 0.01)
                alarms = {
                    "harmed": [r.harmed for r in reports],
                    "decaying": [r.decaying for r in reports],
                }
                alarms["either"] = [a or b for a, b in zip(*alarms.values(), strict=True)]
                for name, flags in alarms.items():
                    first[name].append(flags.index(True) + 1 if any(flags) else PERIODS + 1)
            found.append(
                {
                    "release": release,
                    "rows": rows,
                    "median_period": median(first["either"]),
                    "within_6": float(np.mean(np.array(first["either"]) <= 6)),
                    "within_6_harmed": float(np.mean(np.array(first["harmed"]) <= 6)),
                    "within_6_decaying": float(np.mean(np.array(first["decaying"]) <= 6)),
                }
            )
    return found


def sudden(world: World) -> Table:
    """Labels flipped at once: the share of runs that is noticed in the first period."""
    return [
        {
            "flipped": share,
            "rows": rows,
            "first_period": float(
                np.mean([world.follow(12_000, rows, 1, share)[0].harmed for _ in range(world.runs)])
            ),
        }
        for share in (0.05, 0.1)
        for rows in ROWS[1:]
    ]


def parts(world: World) -> Table:
    """Labels flipped among the longest flights only: the share of runs noticed at once."""
    found = []
    distance = world.flights.frame["distance"]
    for share in (0.05, 0.1, 0.2):
        limit = np.quantile(distance, 1 - share)
        for rows in ROWS[1:]:
            alarms = []
            for _ in range(world.runs):
                release = world.release(2_000)
                drawn = world.rng.integers(len(distance), size=rows)
                y = world.flights.y[drawn]
                y = np.where(distance[drawn] >= limit, 1 - y, y)
                alarms.append(
                    [world.judge(drawn, y, release, by_segments=by).harmed for by in (False, True)]
                )
            without, with_segments = np.mean(alarms, axis=0).tolist()
            row = {"share": share, "rows": rows, "all_rows": without, "segments": with_segments}
            found.append(row)
    return found


def selection(world: World) -> Table:
    """Labels that arrive in an order of their own, in an unchanged world and with 10% flipped."""
    flights, rng = world.flights, world.rng
    noise = rng.random(len(flights.y))
    orders = {
        "short flights first": flights.lag,
        "long flights first": -flights.lag,
        "late flights first": noise * 0.1 - flights.y,
        "at random": noise,
    }
    found = []
    for name, order in orders.items():
        for coverage in (0.8, 0.9, 0.95, 0.99):
            limit, alarms = np.quantile(order, coverage), []
            for _ in range(world.runs):
                drawn = rng.integers(len(flights.y), size=2_000)
                known, release, y = order[drawn] <= limit, world.release(6_000), flights.y[drawn]
                flipped = np.where(rng.random(2_000) < 0.1, 1 - y, y)
                alarms.append(
                    (
                        world.judge(drawn[known], y[known], release).harmed,
                        world.judge(drawn, y, release, known=known).harmed,
                        world.judge(drawn, flipped, release, known=known).harmed,
                    )
                )
            plain, ours, power = np.mean(alarms, axis=0)
            row = {"false_alarms_of_known_labels": plain, "false_alarms": ours, "power": power}
            row = {column: float(value) for column, value in row.items()}
            found.append({"order": name, "coverage": coverage, **row})
    return found


def estimates(world: World) -> Table:
    """Another mix of flights: the loss at release, as realised, and as estimated without labels."""
    flights, holdout, rest = world.flights, slice(0, 12_000), slice(12_000, None)
    losses = row_losses("binary", flights.y, flights.outputs)
    estimator = fit_estimator("binary", flights.y[holdout], flights.outputs[holdout])
    x = {name: values[rest] for name, values in flights.frame.items()}
    mixes = {
        "evening": x["sched_dep_minute"] > 17 * 60,
        "long": x["distance"] > 1800,
        "fog": x["visib"] < 3,
        "rain": x["precip"] > 0,
        "unchanged": np.ones(len(x["precip"]), dtype=bool),
    }
    released = float(losses[holdout].mean())
    found = []
    for name, rows in mixes.items():
        realised = float(losses[rest][rows].mean())
        told = estimate(estimator, flights.outputs[rest][rows]).loss
        found.append(
            {
                "mix": name,
                "rows": int(rows.sum()),
                "release": released,
                "realised": realised,
                "estimated": told,
                "change": realised - released,
                "error": told - realised,
            }
        )
    return found


TABLES = {
    "quiet": quiet,
    "decay": decays,
    "sudden": sudden,
    "parts": parts,
    "selection": selection,
    "estimates": estimates,
}


def _print(name: str, table: Table) -> None:
    say = sys.stdout.write
    say(f"\n## {name}\n\n| {' | '.join(table[0])} |\n|{'---|' * len(table[0])}\n")
    for row in table:
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
        say(f"| {' | '.join(cells)} |\n")


def main() -> None:
    """Print every table, and keep them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    args = parser.parse_args()
    found = {}
    for place, name in enumerate(TABLES):
        if name in args.tables:
            world = World(scored_flights(), np.random.default_rng(place), args.runs)
            found[name] = TABLES[name](world)
            _print(name, found[name])
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
