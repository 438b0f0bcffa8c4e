"""What was done to champions, and what was tried: release records and attempts, in the lake."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from mlops_assets.stores.lake import Lake

TABLE = "releases"
ATTEMPTS = "release_attempts"
Kind = Literal["release", "rollback"]
Outcome = Literal["open", "won", "repeated", "lost", "failed"]


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
class Attempt:
    """One try to move a champion, and what became of it.

    won: it moved the champion, as `release` records. repeated: it had been done before. lost: it
    was refused, and `why` says by what. failed: the registry or the lake could not be used.
    """

    id: str
    kind: Kind
    model: str
    version: str
    expected_champion: str
    at: str
    actor: str
    reason: str
    run_id: str
    outcome: Outcome = "open"
    why: str = ""
    release: str = ""


@dataclass(frozen=True)
class ReleaseLog:
    """Records and attempts; each is written once, however often that is tried."""

    lake: Lake

    def records(self, model: str) -> list[ReleaseRecord]:
        """All moves of a model's champion, oldest first."""
        if not self.lake.exists(model, TABLE):
            return []
        names = ReleaseRecord.__dataclass_fields__
        rows = self.lake.read(model, TABLE).to_pylist()
        found = [ReleaseRecord(**{name: row[name] for name in names}) for row in rows]
        return sorted(found, key=lambda record: record.number)

    def attempts(self, model: str) -> list[Attempt]:
        """All tries to move a model's champion, oldest first."""
        if not self.lake.exists(model, ATTEMPTS):
            return []
        names = Attempt.__dataclass_fields__
        rows = self.lake.read(model, ATTEMPTS).to_pylist()
        found = [Attempt(**{name: row[name] for name in names}) for row in rows]
        return sorted(found, key=lambda attempt: (attempt.at, attempt.id))

    def add(self, record: ReleaseRecord) -> None:
        """Write the record of a move."""
        self._append(record.model, TABLE, asdict(record), f"release-{record.id}")

    def add_attempt(self, attempt: Attempt) -> None:
        """Write what became of a try."""
        self._append(attempt.model, ATTEMPTS, asdict(attempt), f"attempt-{attempt.id}")

    def _append(self, model: str, table: str, row: dict[str, Any], source: str) -> None:
        rows = pa.Table.from_pylist([row])
        self.lake.append_once(model, table, rows, source=source, position=1)


def released_before(
    history: list[ReleaseRecord], version: str, champion: str | None, run_id: str
) -> ReleaseRecord | None:
    """The record of this release, if it was made before."""
    for record in history:
        if run_id and (record.run_id, record.to_version) == (run_id, version):
            return record
    is_last = bool(history) and champion == version == history[-1].to_version
    return history[-1] if is_last else None


def rolled_back_before(
    finished: ReleaseRecord | None,
    history: list[ReleaseRecord],
    champion: str | None,
    expected: str | None,
    run_id: str,
) -> ReleaseRecord | None:
    """The record of this rollback, if it was made before, or just now finished for the dead."""
    if finished is not None and finished.kind == "rollback":
        return finished
    for record in history:
        if run_id and (record.run_id, record.kind) == (run_id, "rollback"):
            return record
    if not history or champion != history[-1].to_version or champion == expected:
        return None
    last = history[-1]
    return last if (last.kind, last.from_version) == ("rollback", expected) else None
