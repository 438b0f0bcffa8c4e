"""Who paused a model's retraining, who resumed it, when and why: a row each, in the lake."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime

import pyarrow as pa

from mlops_assets.stores.lake import Lake

TABLE = "pauses"


@dataclass(frozen=True)
class Pause:
    """A pause began, or one ended. `number` counts a model's rows from 0 and gives their order."""

    model: str
    number: int
    paused: bool
    actor: str
    reason: str
    at: str
    loop_time: str

    @property
    def text(self) -> str:
        """Who, when and why, in a line."""
        at = f"{self.at[:16].replace('T', ' ')} UTC"
        done = f"paused by {self.actor} since {at}" if self.paused else f"resumed at {at}"
        done += "" if self.paused else f" by {self.actor}"
        return f"{done}: {self.reason}" if self.reason else done


@dataclass(frozen=True)
class Pauses:
    """The pauses in the lake."""

    lake: Lake

    def of(self, model: str) -> list[Pause]:
        """All rows of a model, oldest first."""
        if not self.lake.exists(model, TABLE):
            return []
        names = Pause.__dataclass_fields__
        rows = self.lake.read(model, TABLE).to_pylist()
        found = [Pause(**{name: row[name] for name in names}) for row in rows]
        return sorted(found, key=lambda pause: pause.number)

    def current(self, model: str) -> Pause | None:
        """The pause that is in force."""
        last = self.of(model)[-1:]
        return last[0] if last and last[0].paused else None

    def set(
        self,
        model: str,
        paused: bool,
        *,
        actor: str,
        reason: str,
        at: datetime,
        loop_time: datetime,
    ) -> Pause | None:
        """Begin or end a pause; None if that is how it is already. The first of a race wins."""
        if (self.current(model) is not None) == paused:
            return None
        number = len(self.of(model))
        row = Pause(model, number, paused, actor, reason, at.isoformat(), loop_time.isoformat())
        key = hashlib.sha256(f"{model} {number}".encode()).hexdigest()[:12]
        rows = pa.Table.from_pylist([asdict(row)])
        written = self.lake.append_once(model, TABLE, rows, source=f"pause-{key}", position=1)
        return row if written else None
