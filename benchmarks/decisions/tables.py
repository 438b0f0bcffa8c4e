"""What the benchmark prints and writes: means over seeds, with intervals, and the goals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any

from benchmarks.decisions.shifts import Outcome
from benchmarks.decisions.values import DEFAULT, FACTORS, NAMES, Cost, Quiet, Value

Json = dict[str, Any]
# 97.5% points of Student's t for 1 to 9 degrees of freedom.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


def policy_rows(found: Sequence[Value]) -> list[Json]:
    """A row per policy, data set, delay and price: means over the seeds, and a 95% interval."""
    cells: dict[tuple[Any, ...], list[Value]] = defaultdict(list)
    for one in found:
        cells[one.policy, one.dataset, one.delay, one.price_factor].append(one)
    rows = []
    for (policy, dataset, delay, factor), ones in cells.items():
        low, high = interval([one.value for one in ones])
        rows.append(
            {
                "policy": policy,
                "dataset": dataset,
                "delay": delay,
                "price_factor": factor,
                "value": mean(one.value for one in ones),
                "value_low": low,
                "value_high": high,
                "retrains": mean(one.retrains for one in ones),
                "loss": mean(one.loss for one in ones),
                "seeds": len(ones),
            }
        )
    return rows


def interval(numbers: Sequence[float]) -> tuple[float, float]:
    """A 95% interval of the mean by Student's t; of one number, that number twice."""
    middle = mean(numbers)
    if len(numbers) < 2:
        return middle, middle
    half = _T[min(len(numbers) - 2, len(_T) - 1)] * stdev(numbers) / len(numbers) ** 0.5
    return middle - half, middle + half


def quiet_rows(found: Sequence[Quiet]) -> list[Json]:
    """A row per policy and data set: retrains and alerts per 100 unchanged periods."""
    cells: dict[tuple[str, str], list[Quiet]] = defaultdict(list)
    for one in found:
        cells[one.policy, one.dataset].append(one)
    return [
        {
            "policy": policy,
            "dataset": dataset,
            "false_retrains_per_100": _per_100(ones, [one.retrains for one in ones]),
            "false_alerts_per_100": _per_100(ones, [one.alerts for one in ones]),
        }
        for (policy, dataset), ones in cells.items()
    ]


def _per_100(ones: Sequence[Quiet], counts: Iterable[int]) -> float:
    return 100 * sum(counts) / sum(one.periods for one in ones)


def shift_rows(found: Sequence[Outcome]) -> list[Json]:
    """A row per policy, shift and size, over data sets and seeds.

    `power` is the share caught within one period (decay: within 6), `median_delay` the median
    number of periods until something was said, None if that is never.
    """
    cells: dict[tuple[Any, ...], list[Outcome]] = defaultdict(list)
    for one in found:
        cells[one.policy, one.shift, one.harmful, one.n].append(one)
    rows = []
    for (policy, shift, harmful, n), ones in cells.items():
        within = 6 if shift == "decay" else 1
        delays = [one.caught_after or 99 for one in ones]
        middle = median(delays)
        rows.append(
            {
                "policy": policy,
                "shift": shift,
                "harmful": harmful,
                "n": n,
                "power": mean(delay <= within for delay in delays),
                "median_delay": None if middle >= 99 else middle,
                "retrain_rate": mean(one.retrained for one in ones),
                "runs": len(ones),
            }
        )
    return rows


def value_table(rows: Sequence[Json]) -> str:
    """Mean value by data set, then over all cells, by price and the worst cell; best first."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    lines = []
    for policy in policies:
        mine = [row for row in rows if row["policy"] == policy]
        by_set = [_mean(r["value"] for r in mine if r["dataset"] == name) for name in datasets]
        by_price = [_mean(r["value"] for r in mine if r["price_factor"] == f) for f in FACTORS]
        worst = min(row["value"] for row in mine)
        lines.append((policy, _mean(row["value"] for row in mine), worst, *by_price, *by_set))
    lines.sort(key=lambda line: -line[1])
    heads = ["policy", "mean", "worst", *(f"c* x {f:g}" for f in FACTORS), *datasets]
    return table(heads, lines)


def quiet_table(rows: Sequence[Json]) -> str:
    """Retrains and alerts per 100 unchanged periods, by policy."""
    lines = [
        (
            name,
            _mean(r["false_retrains_per_100"] for r in rows if r["policy"] == name),
            _mean(r["false_alerts_per_100"] for r in rows if r["policy"] == name),
        )
        for name in NAMES
    ]
    return table(["policy", "retrains", "alerts"], lines)


def shift_table(rows: Sequence[Json]) -> str:
    """Power and retrain rate by policy, shift and size."""
    heads = ["policy", "shift", "n", "power", "median delay", "retrain rate", "runs"]
    keys = ["policy", "shift", "n", "power", "median_delay", "retrain_rate", "runs"]
    ordered = sorted(rows, key=lambda row: (not row["harmful"], row["shift"], row["n"]))
    return table(heads, [tuple(row[key] for key in keys) for row in ordered])


def table(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Plain text in columns."""
    cells = [list(heads), *([_text(cell) for cell in line] for line in lines)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def goals(
    policies: Sequence[Json], quiets: Sequence[Json], shifts: Sequence[Json], cpu: float
) -> str:
    """Each goal beside what was reached."""
    mine = [row["value"] for row in policies if row["policy"] == DEFAULT]
    fixed = _best_fixed(policies)
    told: list[tuple[str, str, bool]] = [
        ("value, mean >= 0.90", f"{_mean(mine):.3f}", _mean(mine) >= 0.9),
        ("value, worst cell >= 0.6", f"{min(mine):.3f}", min(mine) >= 0.6),
        (
            "better than every fixed interval",
            f"{fixed[1]:.3f} ({fixed[0]})",
            _mean(mine) > fixed[1],
        ),
    ]
    own = [row for row in quiets if row["policy"] == DEFAULT]
    for what in ("retrains", "alerts"):
        rate = _mean(row[f"false_{what}_per_100"] for row in own)
        told.append((f"false {what} <= 2 per 100 periods", f"{rate:.2f}", rate <= 2))
    told += _shift_goals([row for row in shifts if row["policy"] == DEFAULT])
    told.append(("watching <= 5% of training's CPU", f"{cpu:.2%}", cpu <= 0.05))
    return table(["goal", "reached", ""], [(g, r, "met" if m else "missed") for g, r, m in told])


def _shift_goals(rows: Sequence[Json]) -> list[tuple[str, str, bool]]:
    def least(chosen: Sequence[Json], key: str) -> float:
        return min((row[key] for row in chosen), default=float("nan"))

    if not rows:
        return []
    harms = [row for row in rows if row["harmful"] and row["shift"] != "decay"]
    decays = [row for row in rows if row["shift"] == "decay" and row["n"] >= 2000]
    calm = [row for row in rows if not row["harmful"]]
    power, slow = least(harms, "power"), least(decays, "power")
    told = least([row for row in calm if row["n"] >= 2000], "power")
    retrained = max((row["retrain_rate"] for row in calm), default=float("nan"))
    return [
        ("harms caught in one period >= 95%, worst", f"{power:.0%}", power >= 0.95),
        ("decay caught within 6, n >= 2,000", f"{slow:.0%}", slow >= 0.95),
        ("harmless shifts: retrains <= 3%, worst", f"{retrained:.0%}", retrained <= 0.03),
        ("harmless shifts told, n >= 2,000, worst", f"{told:.0%}", told >= 0.95),
    ]


def cpu_share(costs: Sequence[Cost]) -> float:
    """CPU of watching all periods beside that of a full training for each of them."""
    return sum(cost.watching for cost in costs) / sum(cost.fit for cost in costs)


def _best_fixed(policies: Sequence[Json]) -> tuple[str, float]:
    means: Mapping[str, float] = {
        name: _mean(row["value"] for row in policies if row["policy"] == name)
        for name in {row["policy"] for row in policies if row["policy"].startswith("every_")}
    }
    best = max(means, key=lambda name: means[name])
    return best, means[best]


def _mean(numbers: Iterable[float]) -> float:
    found = list(numbers)
    return mean(found) if found else float("nan")


def _text(cell: Any) -> str:
    if cell is None:
        return "never"
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
