"""Who moves a champion, why and when; and the rows that say so."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_assets.stores.incidents import Finding, Incident
from mlops_assets.stores.release_log import Attempt, Kind, ReleaseRecord


@dataclass(frozen=True)
class Cause:
    """What records, attempts and incidents of one call have in common."""

    actor: str
    reason: str
    at: datetime
    loop_time: datetime
    run_id: str
    evidence: Mapping[str, Any]

    def attempt(self, kind: Kind, model: str, version: str, expected: str | None) -> Attempt:
        """The row of this attempt, its outcome still open."""
        return Attempt(
            id=uuid.uuid4().hex[:12],
            kind=kind,
            model=model,
            version=version,
            expected_champion=expected or "",
            at=self.at.isoformat(),
            actor=self.actor,
            reason=self.reason,
            run_id=self.run_id,
        )

    def record(
        self, kind: Kind, model: str, number: int, before: str | None, target: str
    ) -> ReleaseRecord:
        """The record of the model's move number `number`."""
        key = f"{model} {kind} {before} {target} {number}"
        return ReleaseRecord(
            id=hashlib.sha256(key.encode()).hexdigest()[:12],
            number=number,
            kind=kind,
            model=model,
            from_version=before or "",
            to_version=target,
            at=self.at.isoformat(),
            loop_time=self.loop_time.isoformat(),
            actor=self.actor,
            reason=self.reason,
            run_id=self.run_id,
            evidence=json.dumps(self.evidence, sort_keys=True, default=str),
        )

    def incident(
        self, model: str, version: str, occasion: str, finding: Finding, rolled_back_to: str = ""
    ) -> Incident:
        """The incident of a version; the same id for the same occasion."""
        key = f"{model} {version} {occasion}"
        return Incident(
            id=hashlib.sha256(key.encode()).hexdigest()[:12],
            model=model,
            version=version,
            at=self.at.isoformat(),
            loop_time=self.loop_time.isoformat(),
            kind=finding.kind,
            reasons="; ".join(finding.reasons),
            evidence=json.dumps(finding.evidence, sort_keys=True, default=str),
            rolled_back_to=rolled_back_to,
            actor=self.actor,
        )
