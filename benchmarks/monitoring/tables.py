"""What was measured as text, and whether the goals are met."""

from collections.abc import Sequence
from typing import Any

from scipy.stats import binom

from benchmarks.monitoring.data import CHUNK_ROWS

MOST_SECONDS, MOST_MEGABYTES = 30.0, 2048.0
# Ten times the rows may cost this much more, and may need this much more memory.
LINEAR, FLAT = 12.0, 1.25
UNLIKELY = 0.001

Record = dict[str, Any]


def costs(cells: Sequence[Record]) -> str:
    """Time, CPU and memory by cell."""
    lines = [
        "who        rows        columns  seconds  read  test  draw    CPU s  peak MB  flagged",
    ]
    for cell in cells:
        start = f"{cell['who']:<10} {cell['rows']:>10,}  {cell['columns']:>7}"
        if "skipped" in cell:
            lines.append(f"{start}  not measured: {cell['skipped']}")
            continue
        lines.append(
            f"{start}  {cell['seconds']:7.1f}  {cell['read_seconds']:4.1f}  "
            f"{cell['judge_seconds']:4.1f}  {cell['draw_seconds']:4.1f}  "
            f"{cell['cpu_seconds']:7.1f}  {cell['peak_megabytes']:7.0f}  {cell['flagged']:7}"
        )
    return "\n".join(lines)


def false_alarms(records: Sequence[Record]) -> str:
    """Share of flagged reports by size of the reference (down) and the period (across)."""
    parts = []
    for floor in sorted({one["min_effect"] for one in records}):
        some = [one for one in records if one["min_effect"] == floor]
        periods = sorted({one["period_rows"] for one in some})
        parts.append(
            f"reports with any flag, of {some[0]['reports']} unchanged ones; "
            f"budget {some[0]['budget']:.0%}, min_effect {floor:g}"
        )
        parts.append("reference \\ period" + "".join(f"{rows:>10,}" for rows in periods))
        for known in sorted({one["reference_rows"] for one in some}):
            row = {o["period_rows"]: o for o in some if o["reference_rows"] == known}
            shares = (row[rows]["flagged"] / row[rows]["reports"] for rows in periods)
            parts.append(f"{known:>18,}" + "".join(f"{share:>10.1%}" for share in shares))
        parts.append("")
    return "\n".join(parts).rstrip()


def goals(cells: Sequence[Record], records: Sequence[Record]) -> list[Record]:
    """Each goal that these figures can tell of, with the figure and whether it is met."""
    done = {
        (cell["rows"], cell["columns"]): cell
        for cell in cells
        if cell["who"] == "ours" and "skipped" not in cell
    }
    found = []
    if cell := done.get((1_000_000, 50)):
        found.append(_goal("1M x 50 in less than 30 s", cell["seconds"], MOST_SECONDS, "s"))
        found.append(
            _goal("1M x 50 in less than 2 GB", cell["peak_megabytes"], MOST_MEGABYTES, "MB")
        )
    for (rows, columns), cell in done.items():
        less = done.get((rows // 10, columns))
        if less is None or rows < 1_000_000:
            continue
        name = f"{columns} columns, {rows // 10:,} to {rows:,} rows"
        times = cell["read_seconds"] / less["read_seconds"]
        found.append(_goal(f"reading grows linearly: {name}", times, LINEAR, "x"))
        # A period of less than one file has not yet reached what reading a file takes.
        if rows // 10 >= CHUNK_ROWS:
            more = cell["peak_megabytes"] / less["peak_megabytes"]
            found.append(_goal(f"memory is flat: {name}", more, FLAT, "x"))
    if records:
        worst = max(records, key=lambda one: one["flagged"])
        most = binom.isf(UNLIKELY / len(records), worst["reports"], worst["budget"])
        share = worst["flagged"] / worst["reports"]
        name = f"false alarms of the worst cell within the budget of {worst['budget']:.0%}"
        found.append(_goal(name, 100 * share, 100 * most / worst["reports"], "%"))
    return found


def _goal(name: str, figure: float, limit: float, unit: str) -> Record:
    figure, limit = float(figure), float(limit)
    return {"goal": name, "figure": figure, "limit": limit, "unit": unit, "met": figure <= limit}


def goals_table(found: Sequence[Record]) -> str:
    """The goals as lines."""
    return "\n".join(
        f"{'met   ' if one['met'] else 'MISSED'}  {one['goal']}: "
        f"{one['figure']:.3g} {one['unit']} (limit {one['limit']:.3g})"
        for one in found
    )
