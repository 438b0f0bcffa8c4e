"""What was measured as text, and whether the goals are met."""

from collections.abc import Sequence
from statistics import median
from typing import Any

Record = dict[str, Any]

OVERHEAD = 1.3
# Ten times the rows may cost this much more time, and need this much more memory.
LINEAR, FLAT = 12.0, 1.25
CYCLE_OVERHEAD, SECONDS_PER_RUN = 1.2, 5.0


def costs(cells: Sequence[Record]) -> str:
    """Time and memory by cell; the work's seconds are those after imports and definitions."""
    lines = ["what   who    years        rows  start s   work s    CPU s  peak MB"]
    for cell in cells:
        start = f"{cell['what']:<6} {cell['who']:<5} {cell['copies']:>6}"
        if "skipped" in cell:
            lines.append(f"{start}  not measured: {cell['skipped']}")
            continue
        rows = f"{cell['rows']:,}" if "rows" in cell else ""
        lines.append(
            f"{start}  {rows:>10}  {cell['start_seconds']:7.1f}  {cell['seconds']:7.1f}  "
            f"{cell['cpu_seconds']:7.1f}  {cell['peak_megabytes']:7.0f}"
        )
    return "\n".join(lines)


def goals(cells: Sequence[Record]) -> list[Record]:
    """Each goal that these figures can tell of, with the figure and whether it is met."""
    done = {
        (cell["who"], cell["copies"]): cell
        for cell in cells
        if cell["what"] == "data" and "skipped" not in cell
    }
    found = []
    for (who, copies), cell in done.items():
        if who != "ours":
            continue
        if plain := done.get(("plain", copies)):
            times = cell["seconds"] / plain["seconds"]
            found.append(_goal(f"x {copies}: time against pandas + pandera", times, OVERHEAD, "x"))
        if less := done.get((who, copies // 10)) if copies >= 10 else None:
            name = f"x {copies // 10} to x {copies}"
            times = cell["seconds"] / less["seconds"]
            found.append(_goal(f"time is linear: {name}", times, LINEAR, "x"))
            more = cell["peak_megabytes"] / less["peak_megabytes"]
            found.append(_goal(f"memory is flat: {name}", more, FLAT, "x"))
    cycles = [cell for cell in cells if cell["what"] == "cycle" and "skipped" not in cell]
    ours = [cell for cell in cycles if cell["who"] == "ours"]
    plain_seconds = [cell["whole_seconds"] for cell in cycles if cell["who"] == "plain"]
    if ours and plain_seconds:
        limit = CYCLE_OVERHEAD * median(plain_seconds) + SECONDS_PER_RUN * ours[0]["runs"]
        whole = median(cell["whole_seconds"] for cell in ours)
        name = "a retrain cycle, imports included, against a script"
        found.append(_goal(name, whole, limit, "s"))
    return found


def goals_table(found: Sequence[Record]) -> str:
    """The goals as lines."""
    return "\n".join(
        f"{'met   ' if one['met'] else 'MISSED'}  {one['goal']}: "
        f"{one['figure']:.3g} {one['unit']} (limit {one['limit']:.3g})"
        for one in found
    )


def _goal(name: str, figure: float, limit: float, unit: str) -> Record:
    figure, limit = float(figure), float(limit)
    return {"goal": name, "figure": figure, "limit": limit, "unit": unit, "met": figure <= limit}
