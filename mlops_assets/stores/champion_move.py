"""A move of a champion, carried out so that a kill at any moment leaves it to be finished.

What is about to happen is written down before the first alias moves, so a move that is killed
halfway is finished by the next one, whoever makes it: the aliases moved once, and there is exactly
one record of it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_assets.domain.plan import SPLIT_TAG
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.incidents import Incident
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.quarantine import Quarantine
from mlops_assets.stores.registry import (
    CHAMPION,
    PREVIOUS_CHAMPION,
    RELEASED_AT_TAG,
    Registry,
)
from mlops_assets.stores.release_log import Attempt, ReleaseLog, ReleaseRecord


@dataclass(frozen=True)
class Move:
    """A move with the attempt that won it, and why the version before is put under quarantine."""

    record: ReleaseRecord
    attempt: Attempt | None
    incident: Incident | None

    def to_json(self) -> bytes:
        """As it is noted down."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "Move":
        """The move that was noted down."""
        note = json.loads(raw)
        attempt, incident = note["attempt"], note["incident"]
        return cls(
            record=ReleaseRecord(**note["record"]),
            attempt=Attempt(**attempt) if attempt else None,
            incident=Incident(**incident) if incident else None,
        )


@dataclass(frozen=True)
class ChampionMoves:
    """Makes moves, on behalf of whoever holds the model's lock."""

    registry: Registry
    lake: Lake
    locks: Path

    def make(self, move: Move) -> None:
        """Note the move down and carry it out."""
        write_atomically(self._note(move.record.model), move.to_json())
        self._carry_out(move)

    def finish(self, model: str) -> ReleaseRecord | None:
        """Finish the move that was killed, if there is one; return its record.

        One whose champion was meanwhile set by other hands is dropped: the registry is right.
        """
        try:
            move = Move.from_json(self._note(model).read_bytes())
        except FileNotFoundError:
            return None
        record = move.record
        if (self.champion(model) or "") not in (record.from_version, record.to_version):
            self._note(model).unlink()
            return None
        self._carry_out(move)
        return record

    def is_pending(self, model: str) -> bool:
        """Whether a move has begun and not ended."""
        return self._note(model).exists()

    def champion(self, model: str) -> str | None:
        """The version that the champion alias points to."""
        return self.registry.aliases(model).get(CHAMPION)

    def _carry_out(self, move: Move) -> None:
        """Move aliases, write records; each step may be repeated."""
        record, log = move.record, ReleaseLog(self.lake)
        model = record.model
        self.registry.set_tags(model, record.to_version, {RELEASED_AT_TAG: record.at})
        if record.from_version and record.from_version != record.to_version:
            self.registry.set_alias(model, PREVIOUS_CHAMPION, record.from_version)
        self.registry.set_alias(model, CHAMPION, record.to_version)
        # The split compared its variants with a champion that is none any more.
        self.registry.set_model_tag(model, SPLIT_TAG, "")
        if move.incident:
            Quarantine(self.registry, self.lake).begin(move.incident)
        log.add(record)
        if move.attempt:
            log.add_attempt(move.attempt)
        self._note(model).unlink()

    def _note(self, model: str) -> Path:
        return self.locks / f"release-{model}.json"
