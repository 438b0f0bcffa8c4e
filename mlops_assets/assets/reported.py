"""A report with what Dagster shows of it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reported:
    """A report with what Dagster shows of it."""

    report: Any
    metadata: dict[str, Any]
