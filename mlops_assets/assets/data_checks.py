"""What is told of rows on their way into the lake: warnings on raw ones, the contract on all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from mlops_assets.spec import Model

# The share of a period that may lie between its newest row and its end.
STALE_SHARE = 0.25
RAW_CHECKS = {
    "volume": "The period has enough rows.",
    "freshness": "The newest row is near the period's end.",
    "schema_change": "Columns have the types they had before.",
    "gaps": "Of all periods in the lake, none between the first and the last is without rows.",
}


def newest(rows: Any, event_time: str) -> Any:
    """The latest event time of a table; None if it has no rows."""
    import pyarrow.compute as pc

    return pc.max(rows[event_time]).as_py()


def note(
    notes: Mapping[str, list[str]], model: Model, period: str, rows: Any, types: Mapping[str, str]
) -> None:
    """Write down what is unusual about a period, by check."""
    spec, bounds = model.spec, model.calendar.bounds(period)
    if rows.num_rows < spec.validation.min_rows:
        notes["volume"].append(
            f"{period}: {rows.num_rows} rows, at least {spec.validation.min_rows} expected"
        )
    last = newest(rows, spec.event_time)
    if last is None or bounds.end - last > STALE_SHARE * (bounds.end - bounds.start):
        notes["freshness"].append(f"{period}: newest row {last}, ends {bounds.end}")
    known = notes["schema_change"]
    known += [change for change in _changes(types, rows) if change not in known]


def _changes(known: Mapping[str, str], rows: Any) -> list[str]:
    """Columns whose type is not the one that the table has; the lake would hide the difference."""
    from mlops_assets.stores.tables import storable

    found = {field.name: str(field.type) for field in storable(rows.slice(0, 0)).schema}
    return [
        f"{name}: {known.get(name, 'absent')} became {kind}"
        for name, kind in found.items()
        if known and known.get(name) != kind
    ]


@dataclass
class Judged:
    """What became of the rows of a run; `limit` is the share of a period that may be bad."""

    limit: float
    rejected: int = 0
    total: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)

    def refuse(self, good: Mapping[str, Any], bad: Mapping[str, Any]) -> list[str]:
        """Count the rows of a group of periods; those periods of which too many are bad."""
        totals = {period: len(good[period]) + len(bad[period]) for period in bad}
        self.total += sum(totals.values())
        self.rejected += sum(len(rows) for rows in bad.values())
        shares = {period: len(bad[period]) / max(total, 1) for period, total in totals.items()}
        refused = {period: share for period, share in shares.items() if share > self.limit}
        self.refused += [f"{period}: {share:.2%}" for period, share in refused.items()]
        return list(refused)

    def check(self, asset: dg.AssetKey) -> dg.AssetCheckResult:
        """Whether every period was within the limit."""
        from mlops_assets.assets.tables import reasons_table

        description = (
            f"{self.rejected} of {self.total} rows rejected (limit {self.limit:.2%} of a period)"
        )
        if self.refused:
            worst = ", ".join(reason for reason, _ in self.failures.most_common(3))
            description += f"; refused {', '.join(self.refused)}; mostly {worst}"
        return dg.AssetCheckResult(
            passed=not self.refused,
            check_name="contract",
            asset_key=asset,
            description=description,
            metadata={"rejected_rows": self.rejected, "reasons": reasons_table(self.failures)},
        )
