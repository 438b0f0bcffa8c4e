"""The goals that serving has set itself, judged by the results of one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.serving.cells import SINGLE, Result

OURS = "ours"
LIMIT = "limit"
# Two-process variants are peers too: who beats the best peer has to beat those.
PEERS = ("fastapi", "mlflow", "mlflow2", "mlserver", "bentoml", "litserve")
BULK = 1000
# The ways in which ours takes many rows; a peer takes them in one.
BULK_FORMS = {SINGLE: "JSON records", "columns": "JSON columns", "arrow": "Arrow"}


@dataclass(frozen=True)
class Verdict:
    """One goal: the measured figure against its limit; `figure` is None if it was not measured."""

    goal: str
    figure: float | None
    limit: float
    is_met: bool | None
    detail: str = ""


@dataclass(frozen=True)
class _Cells:
    """Look-up of one figure by (server, model, rows, concurrency, format)."""

    results: Sequence[Result]

    def find(
        self, server: str, model: str, rows: int, concurrency: int, form: str = SINGLE
    ) -> Result | None:
        where = (server, model, rows, concurrency, form)
        for r in self.results:
            if (r.server, r.model, r.rows, r.concurrency, r.format) == where:
                return r
        return None

    def best_peer(self, model: str, rows: int, concurrency: int) -> Result | None:
        found = [self.find(peer, model, rows, concurrency) for peer in PEERS]
        return max((r for r in found if r), key=lambda r: r.rps, default=None)


def judge(results: Sequence[Result]) -> list[Verdict]:
    """Every goal of serving; what was not measured has no verdict."""
    cells = _Cells(results)
    at = cells.find
    verdicts = []
    for clients in (8, 64):
        ours = at(OURS, "boosting", 1, clients)
        limit = at(LIMIT, "boosting", 1, clients)
        verdicts.append(_at_least(f"share of the limit at {clients}", ours, limit, 0.5))
    for clients, factor in ((8, 10.0), (64, 4.0)):
        ours, best = at(OURS, "boosting", 1, clients), cells.best_peer("boosting", 1, clients)
        verdicts.append(_at_least(f"times the best peer at {clients}", ours, best, factor))
    for clients in (8, 64):
        ours, mlflow = at(OURS, "boosting", 1, clients), at("mlflow", "boosting", 1, clients)
        verdicts.append(_at_least(f"times mlflow at {clients}", ours, mlflow, 25.0))
    verdicts.append(_tail(at(OURS, "boosting", 1, 8), at(LIMIT, "boosting", 1, 8)))
    verdicts.extend(_bulk(cells))
    for clients in (8, 64):
        ours, mlflow = at(OURS, "forest", 1, clients), at("mlflow", "forest", 1, clients)
        verdicts.append(_at_least(f"times mlflow at {clients}, forest", ours, mlflow, 50.0))
    failed = sum(r.errors for r in results if r.server == OURS)
    was_measured = any(r.server == OURS for r in results)
    errors = float(failed) if was_measured else None
    verdicts.append(Verdict("errors of ours", errors, 0.0, not failed if was_measured else None))
    return verdicts


def _bulk(cells: _Cells) -> list[Verdict]:
    best = cells.best_peer("boosting", BULK, 8)
    return [
        _at_least(
            f"times the best peer, {BULK} rows as {name}",
            cells.find(OURS, "boosting", BULK, 8, form),
            best,
            10.0,
        )
        for form, name in BULK_FORMS.items()
    ]


def _at_least(goal: str, ours: Result | None, other: Result | None, limit: float) -> Verdict:
    """Throughput of ours as a multiple of the other's."""
    return _ratio(goal, ours, other, lambda r: r.rps, limit, lambda ratio: ratio >= limit)


def _tail(ours: Result | None, limit: Result | None) -> Verdict:
    goal = "p99 at 8, times the limit's (at most)"
    return _ratio(goal, ours, limit, lambda r: r.p99_ms, 3.0, lambda ratio: ratio < 3.0)


def _ratio(
    goal: str,
    ours: Result | None,
    other: Result | None,
    figure: Callable[[Result], float | None],
    limit: float,
    is_met: Callable[[float], bool],
) -> Verdict:
    above, below = (figure(r) if r else None for r in (ours, other))
    if ours is None or other is None or above is None or not below:
        return Verdict(goal, None, limit, None, "not measured")
    detail = f"{ours.label} {above:,.4g} to {other.label} {below:,.4g}"
    return Verdict(goal, above / below, limit, is_met(above / below), detail)
