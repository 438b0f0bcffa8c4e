"""The only place where a champion changes: under a lock, compare-and-set, with a record.

Every attempt leaves a row, whether it moved the champion or not, and why not.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.stores.champion_move import ChampionMoves, Move
from mlops_assets.stores.incidents import CLEARED, Finding, Incident, Incidents
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.quarantine import Quarantine, refuse_quarantined
from mlops_assets.stores.registry import PREVIOUS_CHAMPION, RETIRED_TAG, Registry
from mlops_assets.stores.release_cause import Cause
from mlops_assets.stores.release_log import (
    Attempt,
    ReleaseLog,
    released_before,
    rolled_back_before,
)
from mlops_assets.stores.release_log import ReleaseRecord as ReleaseRecord

logger = logging.getLogger(__name__)

LOCK_SECONDS = 60
# A loser of a race waits at most this long for nothing.
LOCK_POLL_SECONDS = 0.01


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

        Raises ReleaseError when the version did not pass its gates or is quarantined, the model is
        retired, or another release came first.
        """
        cause = Cause(actor, reason, at, loop_time, run_id, evidence or {})
        attempt = cause.attempt("release", model, version, expected_champion)
        with self._audited(attempt):
            self._refuse_retired(model)
            candidate = self.registry.version(model, version)
            if not candidate.passed_gates:
                raise ReleaseError(
                    f"{model} version {version} has not passed its gates "
                    f"(gates: {candidate.tags.get('gates', 'not judged')}): train a new "
                    "challenger, or change gates in defs.yaml."
                )
            refuse_quarantined(candidate)
            self._moves.finish(model)
            current, history = self._moves.champion(model), self.history(model)
            done = released_before(history, candidate.version, current, run_id)
            if done is not None:
                return self._repeated(attempt, done)
            if current not in (expected_champion, candidate.version):
                raise _taken(model, current, expected_champion, candidate.version)
            before = current if current != candidate.version else expected_champion
            return self._move(attempt, len(history), before, candidate.version, cause, None)

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
        target: str | None = None,
        finding: Finding | None = None,
    ) -> ReleaseRecord:
        """Make the previous champion, or `target`, the champion again.

        With a finding, the version that is left is quarantined, and the incident recorded. A
        rollback that is run again, after a kill or with the same `run_id` or `expected_champion`,
        returns its record. Raises ReleaseError when there is no champion or none before it, when
        that one is quarantined, or when the champion is not `expected_champion` any more.
        """
        cause = Cause(actor, reason, at, loop_time, run_id, {})
        attempt = cause.attempt("rollback", model, target or "", expected_champion)
        with self._audited(attempt):
            self._refuse_retired(model)
            finished = self._moves.finish(model)
            current, history = self._moves.champion(model), self.history(model)
            done = rolled_back_before(finished, history, current, expected_champion, run_id)
            if done is not None:
                self._quarantine_once(done, finding, cause)
                return self._repeated(attempt, done)
            before = target or self.registry.aliases(model).get(PREVIOUS_CHAMPION)
            if current is None or before is None or before == current:
                raise ReleaseError(
                    f"{model} has no previous champion to roll back to; `mlops releases {model}` "
                    "lists its releases."
                )
            if expected_champion not in (None, current):
                raise _taken(model, current, expected_champion, before)
            refuse_quarantined(self.registry.version(model, before))
            return self._move(attempt, len(history), current, before, cause, finding)

    def withdraw(
        self,
        model: str,
        version: str,
        finding: Finding,
        *,
        actor: str,
        at: datetime,
        loop_time: datetime,
    ) -> Incident:
        """Quarantine a version that is not the champion: it leaves split and shadow.

        Repeated, it records nothing more. Raises ReleaseError for the champion, which has to be
        rolled back, and for a version that does not exist.
        """
        with self.lock(model):
            if self._moves.champion(model) == self.registry.version(model, version).version:
                raise ReleaseError(f"{model} version {version} is the champion: roll it back.")
            occasion = f"withdrawn {self._times_cleared(model, version)}"
            cause = Cause(actor, "", at, loop_time, "", {})
            incident = cause.incident(model, version, occasion, finding)
            Quarantine(self.registry, self.lake).begin(incident)
            return incident

    def unquarantine(
        self,
        model: str,
        version: str,
        *,
        actor: str,
        reason: str,
        at: datetime,
        loop_time: datetime,
    ) -> Incident:
        """Let a version serve again, with a record. Raises ReleaseError if it may already."""
        with self.lock(model):
            cause = Cause(actor, reason, at, loop_time, "", {})
            occasion = f"{CLEARED} {self._times_cleared(model, version)}"
            finding = Finding(CLEARED, (reason,), {})
            incident = cause.incident(model, version, occasion, finding)
            Quarantine(self.registry, self.lake).end(incident)
            return incident

    def history(self, model: str) -> list[ReleaseRecord]:
        """All records of a model, oldest first."""
        return ReleaseLog(self.lake).records(model)

    def attempts(self, model: str) -> list[Attempt]:
        """Every attempt to move a model's champion, oldest first."""
        return ReleaseLog(self.lake).attempts(model)

    def incidents(self, model: str) -> list[Incident]:
        """Every quarantine of a model's versions and its end, oldest first."""
        return Incidents(self.lake).of(model)

    def _refuse_retired(self, model: str) -> None:
        since = self.registry.model_tags(model).get(RETIRED_TAG)
        if since:
            raise ReleaseError(
                f"{model} is retired since {since[:16]}: bring it back first, with "
                f"`mlops retire {model} --undo`."
            )

    @property
    def _moves(self) -> ChampionMoves:
        return ChampionMoves(self.registry, self.lake, self.locks)

    def _move(
        self,
        attempt: Attempt,
        number: int,
        before: str | None,
        target: str,
        cause: Cause,
        finding: Finding | None,
    ) -> ReleaseRecord:
        model = attempt.model
        record = cause.record(attempt.kind, model, number, before, target)
        incident = None
        if finding and before:
            incident = cause.incident(model, before, record.id, finding, rolled_back_to=target)
        won = replace(attempt, version=target, outcome="won", release=record.id)
        self._moves.make(Move(record, won, incident))
        return record

    def _repeated(self, attempt: Attempt, done: ReleaseRecord) -> ReleaseRecord:
        """Note that the attempt found its work done."""
        said = replace(attempt, version=done.to_version, outcome="repeated", release=done.id)
        ReleaseLog(self.lake).add_attempt(said)
        return done

    def _quarantine_once(self, done: ReleaseRecord, finding: Finding | None, cause: Cause) -> None:
        """What a rollback of long ago left to do, unless its quarantine has begun already."""
        if finding is None:
            return
        model, version = done.model, done.from_version
        incident = cause.incident(model, version, done.id, finding, rolled_back_to=done.to_version)
        if incident.id not in {known.id for known in self.incidents(model)}:
            Quarantine(self.registry, self.lake).begin(incident)

    def _times_cleared(self, model: str, version: str) -> int:
        known = self.incidents(model)
        return sum((one.version, one.kind) == (version, CLEARED) for one in known)

    @contextmanager
    def _audited(self, attempt: Attempt) -> Iterator[None]:
        """Hold the model's lock; what ends in an error leaves the attempt's row behind."""
        log = ReleaseLog(self.lake)
        try:
            with self.lock(attempt.model):
                try:
                    yield
                except ReleaseError as error:
                    # Under the lock: rows that are appended one by one never conflict.
                    log.add_attempt(replace(attempt, outcome="lost", why=str(error)))
                    raise
                except Exception as error:
                    # A move that has begun will be finished, and then leave its row.
                    if not self._moves.is_pending(attempt.model):
                        log.add_attempt(replace(attempt, outcome="failed", why=repr(error)[:500]))
                    raise
        except _LockedError as error:
            log.add_attempt(replace(attempt, outcome="lost", why=str(error)))
            raise

    @contextmanager
    def lock(self, model: str) -> Iterator[None]:
        """Nobody else changes what is served of the model meanwhile.

        Raises ReleaseError if that takes too long.
        """
        self.locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.locks / f"release-{model}.lock", timeout=LOCK_SECONDS)
        try:
            lock.acquire(poll_interval=LOCK_POLL_SECONDS)
        except Timeout as error:
            raise _LockedError(
                f"{model}: another release has held its lock for {LOCK_SECONDS} s "
                f"({error.lock_file}): wait for it, or end the process that hangs."
            ) from error
        try:
            yield
        finally:
            lock.release()


class _LockedError(ReleaseError):
    """Nothing was tried, because another release holds the lock."""


def _taken(model: str, current: str | None, expected: str | None, target: str) -> ReleaseError:
    return ReleaseError(
        f"{model}: the champion is {current or 'not set'}, not {expected or 'unset'} as when "
        f"version {target} was judged: another release came first; judge the challenger against "
        "the new champion."
    )
