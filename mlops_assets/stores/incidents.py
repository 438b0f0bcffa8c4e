"""Incidents: versions that were taken away from their users, why, and what took their place."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from mlops_assets.stores.lake import Lake

TABLE = "incidents"
# The kind of the record that ends a quarantine.
CLEARED = "cleared"


@dataclass(frozen=True)
class Finding:
    """What is wrong with a version: what kind of harm, in words, and the figures."""

    kind: str
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]

    @property
    def text(self) -> str:
        """Kind and reasons in one line."""
        return f"{self.kind}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Incident:
    """One version was quarantined, or let out of it (`kind` is then `cleared`).

    `rolled_back_to` is the champion that took over; empty if the version was not the champion.
    """

    id: str
    model: str
    version: str
    at: str
    loop_time: str
    kind: str
    reasons: str
    evidence: str
    rolled_back_to: str
    actor: str

    @property
    def evidence_values(self) -> dict[str, Any]:
        """The evidence, by name."""
        return dict(json.loads(self.evidence))


@dataclass(frozen=True)
class Incidents:
    """The incidents in the lake."""

    lake: Lake

    def add(self, incident: Incident) -> None:
        """Record an incident, once, however often this is called."""
        rows = pa.Table.from_pylist([asdict(incident)])
        source = f"incident-{incident.id}"
        self.lake.append_once(incident.model, TABLE, rows, source=source, position=1)

    def of(self, model: str) -> list[Incident]:
        """All incidents of a model, oldest first."""
        if not self.lake.exists(model, TABLE):
            return []
        names = Incident.__dataclass_fields__
        rows = self.lake.read(model, TABLE).to_pylist()
        found = [Incident(**{name: row[name] for name in names}) for row in rows]
        return sorted(found, key=lambda incident: (incident.at, incident.id))
