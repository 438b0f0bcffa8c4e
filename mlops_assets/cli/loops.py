"""What a replay needs of the loop, and what became of the requests it sent.

`local_loop` runs everything in this process, `live_loop` drives a running `mlops up`. Both send
the rows of a period as requests and wait until the sensors have nothing more to do; neither
trains, releases or decides by itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class Sent:
    """What became of a period's requests: counts, and predictions per version."""

    requests: int = 0
    failed: int = 0
    served: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    first_error: str = ""

    def add(self, status: int, body: bytes) -> None:
        """Count one answer."""
        self.requests += 1
        if status == 200:
            answer = json.loads(body)
            version, served = str(answer["version"]), len(answer["predictions"])
            self.served += served
            self.versions[version] = self.versions.get(version, 0) + served
            return
        self.failed += 1
        self.first_error = self.first_error or f"{status}: {body[:300].decode(errors='replace')}"

    def join(self, other: "Sent") -> None:
        """Add the counts of requests that were sent later."""
        self.requests += other.requests
        self.failed += other.failed
        self.served += other.served
        for version, served in other.versions.items():
            self.versions[version] = self.versions.get(version, 0) + served
        self.first_error = self.first_error or other.first_error


class Loop(Protocol):
    """What a replay needs of the loop."""

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        """Ask for the predictions of each request's records."""
        ...

    def settle(self, period: str | None) -> None:
        """Return when the sensors have done all that the clock asks for.

        With a period: when its decision is made, and the run that it asks for has begun.
        """
        ...

    def finish(self) -> None:
        """Return when no training or rollback is at work."""
        ...

    def swapped(self, version: str) -> float | None:
        """Wait until `version` answers; seconds since its release, where that is known."""
        ...

    def acted_on(self, decision: str) -> bool:
        """Whether a run was started for the decision with this id."""
        ...
