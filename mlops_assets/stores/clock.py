"""The loop's clock: the system's, or one that a replay of history moves forward.

Every process of one `MLOPS_HOME` reads the same clock file, so a replay is the same code as live
operation with another clock.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlops_assets.stores.files import write_atomically


@dataclass(frozen=True)
class Clock:
    """Tells the time of the loop, always in UTC."""

    path: Path

    def now(self) -> datetime:
        """The replayed time where a replay has set one, else the system's."""
        try:
            raw = self.path.read_text()
        except FileNotFoundError:
            return datetime.now(UTC)
        return datetime.fromisoformat(json.loads(raw)["now"])

    @property
    def is_replaying(self) -> bool:
        """Whether a replay has set the clock."""
        return self.path.exists()

    def set(self, now: datetime) -> None:
        """Move the clock to `now` (with a time zone) for every process of this home."""
        write_atomically(self.path, json.dumps({"now": now.astimezone(UTC).isoformat()}).encode())

    def reset(self) -> None:
        """Go back to the system's time."""
        self.path.unlink(missing_ok=True)
