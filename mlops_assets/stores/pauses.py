"""Who paused a model's retraining, who resumed it, when and why: a row each, in the lake."""

from dataclasses import dataclass
from datetime import datetime

from mlops_assets.stores.lake import Lake
from mlops_assets.stores.numbered_rows import NumberedRow, NumberedRows

TABLE = "pauses"


@dataclass(frozen=True)
class Pause(NumberedRow):
    """A pause began, or one ended. `number` counts a model's rows from 0 and gives their order."""

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
        return self._rows.of(model)

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
        return row if self._rows.add(row) else None

    @property
    def _rows(self) -> NumberedRows[Pause]:
        return NumberedRows(self.lake, TABLE, "pause", Pause)
