"""The only place where a champion changes: under a lock, compare-and-set, with a record.

A release that is killed and run again ends in the same state: the alias moved once, and exactly
one record of it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from filelock import FileLock

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import (
    CHAMPION,
    PREVIOUS_CHAMPION,
    RELEASED_AT_TAG,
    Registry,
    Version,
)

TABLE = "releases"
Kind = Literal["release", "rollback"]


@dataclass(frozen=True)
class ReleaseRecord:
    """Who moved the champion, when, why, from where to where, on what evidence."""

    id: str
    kind: Kind
    model: str
    from_version: str
    to_version: str
    at: str
    loop_time: str
    actor: str
    reason: str
    run_id: str
    evidence: str

    @property
    def evidence_values(self) -> dict[str, Any]:
        """The evidence, by name."""
        return dict(json.loads(self.evidence))


@dataclass(frozen=True)
class Releases:
    """Moves champions of one registry and keeps the records in the lake."""

    registry: Registry
    lake: Lake
    locks: Path

    def release(
        self,
        model: str,
        version: str,
        *,
        expected_champion: str | None,
        actor: str,
        reason: str,
        at: datetime,
        loop_time: datetime,
        run_id: str = "",
        evidence: Mapping[str, Any] | None = None,
    ) -> ReleaseRecord:
        """Make `version` the champion if `expected_champion` (None: no champion) still is.

        Raises ReleaseError when the version did not pass its gates, or another release came
        first.
        """
        with self._lock(model):
            candidate = self.registry.version(model, version)
            if not candidate.passed_gates:
                raise ReleaseError(
                    f"{model} version {version} has not passed its gates "
                    f"(gates: {candidate.tags.get('gates', 'not judged')}): train a new "
                    "challenger, or change gates in defs.yaml."
                )
            return self._move(
                "release",
                candidate,
                expected_champion,
                actor,
                reason,
                at,
                loop_time,
                run_id,
                evidence or {},
            )

    def rollback(
        self,
        model: str,
        *,
        actor: str,
        reason: str,
        at: datetime,
        loop_time: datetime,
        expected_champion: str | None = None,
        run_id: str = "",
    ) -> ReleaseRecord:
        """Make the previous champion the champion again.

        Raises ReleaseError when there is no champion or none before it, or when the champion is
        not `expected_champion` any more.
        """
        with self._lock(model):
            champion = self.registry.alias(model, CHAMPION)
            previous = self.registry.alias(model, PREVIOUS_CHAMPION)
            if champion is None or previous is None or previous.version == champion.version:
                raise ReleaseError(
                    f"{model} has no previous champion to roll back to; `mlops releases {model}` "
                    "lists its releases."
                )
            expected = champion.version if expected_champion is None else expected_champion
            return self._move(
                "rollback", previous, expected, actor, reason, at, loop_time, run_id, {}
            )

    def history(self, model: str) -> list[ReleaseRecord]:
        """All records of a model, oldest first."""
        if not self.lake.exists(model, TABLE):
            return []
        rows = self.lake.read(model, TABLE).to_pylist()
        records = [
            ReleaseRecord(**{name: row[name] for name in ReleaseRecord.__dataclass_fields__})
            for row in rows
        ]
        return sorted(records, key=lambda record: record.at)

    def _move(
        self,
        kind: Kind,
        target: Version,
        expected: str | None,
        actor: str,
        reason: str,
        at: datetime,
        loop_time: datetime,
        run_id: str,
        evidence: Mapping[str, Any],
    ) -> ReleaseRecord:
        model = target.model
        champion = self.registry.alias(model, CHAMPION)
        current = champion.version if champion else None
        done = current == target.version
        if not done and current != expected:
            raise ReleaseError(
                f"{model}: the champion is {current or 'not set'}, not {expected or 'unset'} as "
                f"when version {target.version} was judged: another release came first; judge "
                "the challenger against the new champion."
            )
        if done:
            written = [r for r in self.history(model) if r.to_version == target.version]
            if written and written[-1].id == self._last_id(model):
                return written[-1]
        record = self._record(
            kind, target, expected, actor, reason, at, loop_time, run_id, evidence
        )
        self.registry.set_tags(model, target.version, {RELEASED_AT_TAG: record.at})
        if not done:
            if current is not None:
                self.registry.set_alias(model, PREVIOUS_CHAMPION, current)
            self.registry.set_alias(model, CHAMPION, target.version)
        row = pa.Table.from_pylist([asdict(record)])
        self.lake.append_once(model, TABLE, row, source=f"release-{record.id}", position=1)
        return record

    def _record(
        self,
        kind: Kind,
        target: Version,
        expected: str | None,
        actor: str,
        reason: str,
        at: datetime,
        loop_time: datetime,
        run_id: str,
        evidence: Mapping[str, Any],
    ) -> ReleaseRecord:
        # The number of earlier records tells a repeated release from the same one run again.
        number = len(self.history(target.model))
        key = f"{target.model} {kind} {expected} {target.version} {number}"
        return ReleaseRecord(
            id=hashlib.sha256(key.encode()).hexdigest()[:12],
            kind=kind,
            model=target.model,
            from_version=expected or "",
            to_version=target.version,
            at=at.isoformat(),
            loop_time=loop_time.isoformat(),
            actor=actor,
            reason=reason,
            run_id=run_id,
            evidence=json.dumps(evidence, sort_keys=True, default=str),
        )

    def _last_id(self, model: str) -> str:
        history = self.history(model)
        return history[-1].id if history else ""

    def _lock(self, model: str) -> FileLock:
        self.locks.mkdir(parents=True, exist_ok=True)
        return FileLock(self.locks / f"release-{model}.lock", timeout=60)
