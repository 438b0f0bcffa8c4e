"""The only place where a champion changes: under a lock, compare-and-set, with a record.

What is about to happen is written down before the first alias moves, so a move that is killed
halfway is finished by the next one, whoever makes it: the aliases moved once, and there is exactly
one record of it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from filelock import FileLock, Timeout

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import (
    CHAMPION,
    PREVIOUS_CHAMPION,
    RELEASED_AT_TAG,
    Registry,
)

TABLE = "releases"
LOCK_SECONDS = 60
Kind = Literal["release", "rollback"]


@dataclass(frozen=True)
class ReleaseRecord:
    """Who moved the champion, when, why, from where to where, on what evidence.

    `number` counts a model's records from 0 and gives their order, whatever clocks say.
    """

    id: str
    number: int
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
            self._finish(model)
            history = self.history(model)
            for record in history:
                if run_id and (record.run_id, record.to_version) == (run_id, candidate.version):
                    return record
            current = self._champion(model)
            if current == candidate.version and history and history[-1].to_version == current:
                return history[-1]
            if current not in (expected_champion, candidate.version):
                raise _taken(model, current, expected_champion, candidate.version)
            cause = _Cause(actor, reason, at, loop_time, run_id, evidence or {})
            before = current if current != candidate.version else expected_champion
            return self._move("release", model, before, candidate.version, cause)

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

        A rollback that is run again, after a kill or with the same `run_id` or
        `expected_champion`, returns its record. Raises ReleaseError when there is no champion or
        none before it, or when the champion is not `expected_champion` any more.
        """
        with self._lock(model):
            finished = self._finish(model)
            if finished is not None and finished.kind == "rollback":
                return finished
            current = self._champion(model)
            history = self.history(model)
            for record in history:
                if run_id and (record.run_id, record.kind) == (run_id, "rollback"):
                    return record
            if history and current == history[-1].to_version != expected_champion:
                last = history[-1]
                if (last.kind, last.from_version) == ("rollback", expected_champion):
                    return last
            previous = self.registry.alias(model, PREVIOUS_CHAMPION)
            if current is None or previous is None or previous.version == current:
                raise ReleaseError(
                    f"{model} has no previous champion to roll back to; `mlops releases {model}` "
                    "lists its releases."
                )
            if expected_champion not in (None, current):
                raise _taken(model, current, expected_champion, previous.version)
            cause = _Cause(actor, reason, at, loop_time, run_id, {})
            return self._move("rollback", model, current, previous.version, cause)

    def history(self, model: str) -> list[ReleaseRecord]:
        """All records of a model, oldest first."""
        if not self.lake.exists(model, TABLE):
            return []
        rows = self.lake.read(model, TABLE).to_pylist()
        records = [
            ReleaseRecord(**{name: row[name] for name in ReleaseRecord.__dataclass_fields__})
            for row in rows
        ]
        return sorted(records, key=lambda record: record.number)

    def _move(
        self, kind: Kind, model: str, before: str | None, target: str, cause: "_Cause"
    ) -> ReleaseRecord:
        number = len(self.history(model))
        key = f"{model} {kind} {before} {target} {number}"
        record = ReleaseRecord(
            id=hashlib.sha256(key.encode()).hexdigest()[:12],
            number=number,
            kind=kind,
            model=model,
            from_version=before or "",
            to_version=target,
            at=cause.at.isoformat(),
            loop_time=cause.loop_time.isoformat(),
            actor=cause.actor,
            reason=cause.reason,
            run_id=cause.run_id,
            evidence=json.dumps(cause.evidence, sort_keys=True, default=str),
        )
        write_atomically(self._intent(model), json.dumps(asdict(record)).encode())
        self._carry_out(record)
        return record

    def _carry_out(self, record: ReleaseRecord) -> None:
        """Move aliases, write the record; each step may be repeated."""
        model = record.model
        self.registry.set_tags(model, record.to_version, {RELEASED_AT_TAG: record.at})
        if record.from_version and record.from_version != record.to_version:
            self.registry.set_alias(model, PREVIOUS_CHAMPION, record.from_version)
        self.registry.set_alias(model, CHAMPION, record.to_version)
        row = pa.Table.from_pylist([asdict(record)])
        self.lake.append_once(model, TABLE, row, source=f"release-{record.id}", position=1)
        self._intent(model).unlink()

    def _finish(self, model: str) -> ReleaseRecord | None:
        """Finish the move that was killed, if there is one; return its record.

        One whose champion was meanwhile set by other hands is dropped: the registry is right.
        """
        try:
            record = ReleaseRecord(**json.loads(self._intent(model).read_bytes()))
        except FileNotFoundError:
            return None
        if (self._champion(model) or "") not in (record.from_version, record.to_version):
            self._intent(model).unlink()
            return None
        self._carry_out(record)
        return record

    def _champion(self, model: str) -> str | None:
        champion = self.registry.alias(model, CHAMPION)
        return champion.version if champion else None

    def _intent(self, model: str) -> Path:
        return self.locks / f"release-{model}.json"

    @contextmanager
    def _lock(self, model: str) -> Iterator[None]:
        self.locks.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.locks / f"release-{model}.lock", timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise ReleaseError(
                f"{model}: another release has held its lock for {LOCK_SECONDS} s "
                f"({error.lock_file}): wait for it, or end the process that hangs."
            ) from error


@dataclass(frozen=True)
class _Cause:
    """Who moves a champion, why and when."""

    actor: str
    reason: str
    at: datetime
    loop_time: datetime
    run_id: str
    evidence: Mapping[str, Any]


def _taken(model: str, current: str | None, expected: str | None, target: str) -> ReleaseError:
    return ReleaseError(
        f"{model}: the champion is {current or 'not set'}, not {expected or 'unset'} as when "
        f"version {target} was judged: another release came first; judge the challenger against "
        "the new champion."
    )
