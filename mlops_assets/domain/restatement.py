"""What changes when labels come, or change, after a period was reported on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from mlops_assets.domain.labels import LABEL
from mlops_assets.domain.performance import PerformanceReport

KEYS = ["entity", "event_time"]


@dataclass(frozen=True)
class LabelChanges:
    """Labels that came, that say something else than before, and that were taken back."""

    came: int
    changed: int
    withdrawn: int

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.came or self.changed or self.withdrawn)


@dataclass(frozen=True)
class Restatement:
    """One restatement of a period's report, `at` when (ISO time), from what to what.

    `changes` is None where the labels of before are no longer kept.
    """

    at: str
    changes: LabelChanges | None
    loss_before: float | None
    loss_after: float | None
    coverage_before: float
    coverage_after: float
    harmed_before: bool
    harmed_after: bool

    def content(self) -> dict[str, Any]:
        """As the report keeps it."""
        return asdict(self)

    @classmethod
    def of(
        cls,
        at: str,
        changes: LabelChanges | None,
        before: Mapping[str, Any],
        after: PerformanceReport,
    ) -> "Restatement":
        """From the kept report of before and the new one."""
        return cls(
            at=at,
            changes=changes,
            loss_before=before["loss"],
            loss_after=after.loss,
            coverage_before=before["coverage"],
            coverage_after=after.coverage,
            harmed_before=before["harmed"],
            harmed_after=after.harmed,
        )


def label_changes(before: pd.DataFrame, after: pd.DataFrame) -> LabelChanges:
    """Compare labels by entity and event time, each of which occurs once."""
    both = before[[*KEYS, LABEL]].merge(
        after[[*KEYS, LABEL]], on=KEYS, how="outer", suffixes=("_before", ""), indicator=True
    )
    found = both["_merge"].value_counts()
    shared = both[both["_merge"] == "both"]
    return LabelChanges(
        came=int(found["right_only"]),
        changed=int((shared[f"{LABEL}_before"] != shared[LABEL]).sum()),
        withdrawn=int(found["left_only"]),
    )
