"""The results as text."""

from collections.abc import Sequence

from benchmarks.serving.cells import Result, grouped
from benchmarks.serving.goals import OURS, Verdict

HEADER = (
    f"{'server':<17}{'clients':>8}{'requests/s':>12}{'rows/s':>11}{'p50 ms':>10}{'p99 ms':>10}"
    f"{'CPU ms':>9}{'MB':>7}{'start s':>9}{'errors':>8}{'ours is':>10}"
)


def tables(results: Sequence[Result]) -> str:
    """One table per model and request size; the last column is our throughput as a multiple."""
    parts = []
    for (model, rows), group in grouped(results):
        title = f"{model}, {rows:,} row{'s' if rows > 1 else ''} per request"
        parts += [title, HEADER, *(_line(r, _times(r, group)) for r in group), ""]
    return "\n".join(parts)


def _times(result: Result, group: Sequence[Result]) -> float | None:
    """Our plain throughput at the same concurrency over this one's."""
    for other in group:
        is_ours = other.server == OURS and other.label == OURS
        if is_ours and other.concurrency == result.concurrency and result.rps:
            return other.rps / result.rps
    return None


def _line(r: Result, times: float | None) -> str:
    return (
        f"{r.label:<17}{r.concurrency:>8}{r.rps:>12,.1f}{r.rows_per_s:>11,.0f}"
        f"{_number(r.p50_ms):>10}{_number(r.p99_ms):>10}{_number(r.cpu_ms_per_request):>9}"
        f"{r.rss_mb:>7,.0f}{r.cold_start_s:>9.1f}{r.errors:>8}"
        f"{'' if times is None else f'{times:.2f}x':>10}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def quietness(results: Sequence[Result], limit: float = 0.1) -> str:
    """A warning where other programs took more than this share of the machine."""
    noisy = [r for r in results if r.others > limit]
    if not noisy:
        return ""
    worst = max(r.others for r in noisy)
    return (
        f"Other programs took over {limit:.0%} of the CPUs in {len(noisy)} of {len(results)} "
        f"cells, {worst:.0%} at worst: measure again on a quiet machine."
    )


def goals(verdicts: Sequence[Verdict]) -> str:
    """One line per goal."""
    lines = ["Goals"]
    for v in verdicts:
        said = {True: "met", False: "not met", None: "-"}[v.is_met]
        figure = "-" if v.figure is None else f"{v.figure:.2f}"
        lines.append(f"{v.goal:<42}{figure:>9}  goal {v.limit:<5g} {said:<8} {v.detail}")
    return "\n".join(lines)
