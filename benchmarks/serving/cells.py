"""What is measured: cells (server, model, rows, concurrency), windows, and results."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

SINGLE = "records"


@dataclass(frozen=True, order=True)
class Cell:
    """One load on one model: so many clients, each sending requests of so many rows."""

    rows: int
    concurrency: int


@dataclass(frozen=True)
class Window:
    """What the load tool saw in one window, and the CPU time that the server used meanwhile.

    `requests` were answered with 2xx. `others` is the share of all CPUs that went to neither the
    server nor the load tool. Percentiles are in milliseconds, NaN-free: None where no
    request ended within the window.
    """

    seconds: float
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    cpu_seconds: float = 0.0
    others: float = 0.0


@dataclass(frozen=True)
class Result:
    """One cell of one server; medians over windows, errors in all of them.

    `rss_mb` is the proportional set size of the server's process tree, which unlike the sum of
    resident sizes counts shared pages once. `cold_start_s` is from spawn to the first prediction.
    """

    server: str
    model: str
    concurrency: int
    rows: int
    rps: float
    rows_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_ms_per_request: float | None
    rss_mb: float
    cold_start_s: float
    errors: int
    format: str = SINGLE
    others: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The keys of the report; `format` only where it is not plain JSON records."""
        content = asdict(self)
        del content["others"]
        if self.format == SINGLE:
            del content["format"]
        return content

    @property
    def label(self) -> str:
        """The server's name, with the format where there are several."""
        return self.server if self.format == SINGLE else f"{self.server} ({self.format})"


def summarise(windows: Sequence[Window], rows: int) -> dict[str, Any]:
    """The measured part of a Result: the median over windows of each figure."""
    answered = [window for window in windows if window.requests]
    rate = median(window.requests / window.seconds for window in windows)
    return {
        "rps": round(rate, 2),
        "rows_per_s": round(rate * rows, 1),
        "p50_ms": _median(window.p50_ms for window in answered),
        "p99_ms": _median(window.p99_ms for window in answered),
        "cpu_ms_per_request": _median(
            window.cpu_seconds * 1000 / window.requests for window in answered
        ),
        "errors": sum(window.errors for window in windows),
        "others": round(median(window.others for window in windows), 3),
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 4) if known else None


def matrix(rows: Sequence[int], concurrency: Sequence[int]) -> list[Cell]:
    """Every combination, small requests first."""
    return [Cell(size, clients) for size in sorted(rows) for clients in sorted(concurrency)]


def cells_of_goals(model: str) -> list[Cell]:
    """The least that every goal can be judged by: single rows, and bulk for boosting."""
    single = [Cell(1, 1), Cell(1, 8), Cell(1, 64)]
    return [*single, Cell(1000, 8)] if model == "boosting" else single[1:]


def grouped(results: Iterable[Result]) -> Iterator[tuple[tuple[str, int], list[Result]]]:
    """Results by (model, rows), in order of appearance."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.model, result.rows), []).append(result)
    yield from groups.items()
