"""What happened period by period in a replay or in live operation, as plain values."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class PeriodRow:
    """One period of the loop.

    `loss_live` is the loss of the version that served and `loss_first` that of the very first
    version on the same rows (what would have happened without the loop); both are None while
    the labels are not known. `swap_seconds` is the time from the moved alias to the new version
    answering, None where the version did not change; `served` counts the predictions, of which a
    request may ask for several.
    """

    period: str
    requests: int
    failed: int
    version: str
    loss_live: float | None
    loss_first: float | None
    flagged: tuple[str, ...]
    action: str
    reason: str
    swap_seconds: float | None
    served: int = 0


def released(rows: Sequence[PeriodRow]) -> dict[str, str]:
    """The periods (oldest first) that another version served than the period before, with it."""
    return {
        after.period: after.version
        for before, after in pairwise(rows)
        if before.version and after.version and before.version != after.version
    }


def summary(rows: Sequence[PeriodRow], model: str, seconds: float) -> dict[str, Any]:
    """Totals and periods in JSON types (a loss that is not a finite number becomes None).

    `seconds` is the wall time of the whole run. A release is a change of the serving version
    between neighbouring periods, so the first version is none and a rollback is one.
    """
    return {
        "model": model,
        "seconds": round(seconds, 3),
        "requests": sum(row.requests for row in rows),
        "failed_requests": sum(row.failed for row in rows),
        "retrains": sum(row.action == "retrain" for row in rows),
        "releases": len(released(rows)),
        "periods": [
            {
                **asdict(row),
                "flagged": list(row.flagged),
                "loss_live": _finite(row.loss_live),
                "loss_first": _finite(row.loss_first),
                "swap_seconds": _finite(row.swap_seconds),
            }
            for row in rows
        ],
    }


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
