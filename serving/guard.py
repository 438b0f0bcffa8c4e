"""Takes a bad release back by itself: the champion on probation, and every split variant.

Looks once a second at what the replicas have counted. A version that fails, is slow or is stuck
is rolled back or taken out of the split, quarantined, and the incident recorded; the follower then
publishes at once. While the registry is away this is tried again and again, and the replicas
answer through the version before.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.guard import GuardVerdict, Limits, VersionStats, judge
from mlops_assets.stores.incidents import Finding
from mlops_assets.stores.serving_stats import SnapshotReader, Totals
from serving.bundle_cache import Trouble
from serving.pointer import Target, read_pointer

logger = logging.getLogger(__name__)

# What happened longer ago says little about now.
RECENT_SECONDS = 60.0
REFUSALS = 5


class Control(Protocol):
    """What can take a version away from its users: the registry, or a stand-in."""

    def roll_back(self, model: str, version: str, target: str, finding: Finding) -> None:
        """Make `target` the champion again in place of `version`, which is quarantined."""
        ...

    def withdraw(self, model: str, version: str, finding: Finding) -> None:
        """Take a version out of the split, and quarantine it."""
        ...


@dataclass(frozen=True)
class Trial:
    """A version that was given traffic, by whom it is compared, and since when."""

    model: str
    version: str
    since: str
    # The champion that takes over; empty for a split variant.
    fallback: str
    previous: str


@dataclass
class _Watch:
    """What is known of a trial: counts at its start, those of the last minute, its troubles.

    `before` are the counts of the version before at the start of the trial.
    """

    start: VersionStats
    before: VersionStats
    started: float
    recent: deque[tuple[float, VersionStats]] = field(default_factory=deque)
    trouble: Trouble = field(default_factory=Trouble)
    is_over: bool = False

    def windows(self, now: float, counts: VersionStats) -> tuple[VersionStats, VersionStats]:
        """What was counted in the last minute, and in the whole trial."""
        self.recent.append((now, counts))
        while len(self.recent) > 1 and now - self.recent[1][0] >= RECENT_SECONDS:
            self.recent.popleft()
        at, first = self.recent[0]
        whole = counts.since(self.start, now - self.started)
        is_young = now - self.started < RECENT_SECONDS
        return (whole if is_young else counts.since(first, now - at)), whole


class Guard:
    """Watches every version that was lately given traffic."""

    def __init__(
        self,
        control: Control,
        pointer: Path,
        stats: Path,
        *,
        limits: Callable[[str], Limits] = lambda model: Limits(),
        publish: Callable[[], Any] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._pointer = pointer
        self._snapshots = SnapshotReader(stats)
        self._limits = limits
        self._publish = publish
        self._clock = clock
        self._watches: dict[Trial, _Watch] = {}
        # Counts at the look before, because a version may serve before its trial is seen here.
        self._last: Totals | None = None

    def step(self) -> list[tuple[Trial, GuardVerdict]]:
        """Look once; returns what was taken back."""
        totals = self._snapshots.totals()
        last = totals if self._last is None else self._last
        self._last = totals
        now = self._clock()
        trials = trials_of(read_pointer(self._pointer))
        self._watches = {
            trial: self._watches.get(trial) or _begun(trial, last, now) for trial in trials
        }
        return [
            (trial, verdict)
            for trial, watch in self._watches.items()
            if (verdict := self._judge(trial, watch, totals, now)) is not None
        ]

    def run(self, stop: threading.Event, every: float = 1.0) -> None:
        """Look every `every` seconds until stopped; nothing that happens ends it."""
        is_broken = False
        while not stop.wait(every):
            try:
                self.step()
                is_broken = False
            except Exception:  # the guard must outlive whatever it meets, which is logged once
                if not is_broken:
                    logger.exception("The guard cannot look; it tries again")
                is_broken = True

    def _judge(
        self, trial: Trial, watch: _Watch, totals: Totals, now: float
    ) -> GuardVerdict | None:
        """Act on a trial if need be; the verdict if it was acted on."""
        counts = totals.get((trial.model, trial.version), VersionStats())
        limits = self._limits(trial.model)
        if watch.is_over or time.monotonic() < watch.trouble.retry_at:
            return None
        # The version before stands in for this one now; beside a split the champion goes on.
        live = totals.get((trial.model, trial.previous))
        before = watch.before if trial.fallback else live
        for window in watch.windows(now, counts):
            verdict = judge(window, before, limits)
            if verdict.action == "rollback":
                finding = Finding(" and ".join(verdict.kinds), verdict.reasons, asdict(window))
                return verdict if self._act(trial, watch, finding) else None
        return None

    def _act(self, trial: Trial, watch: _Watch, finding: Finding) -> bool:
        model, version = trial.model, trial.version
        try:
            if trial.fallback:
                self._control.roll_back(model, version, trial.fallback, finding)
            else:
                self._control.withdraw(model, version, finding)
        except Exception as error:  # noqa: BLE001 - clients raise anything while a server is away
            is_refused = isinstance(error, ReleaseError)
            if not watch.trouble.failures:
                kind = "is refused" if is_refused else "fails"
                logger.error(
                    "%s version %s must go (%s), but that %s, and is tried again: %s",
                    *(model, version, finding.text, kind, error),
                )
            watch.trouble.failed(1.0)
            # Each refusal leaves a row, and will not be another one for asking again.
            watch.is_over = is_refused and watch.trouble.failures >= REFUSALS
            return False
        watch.is_over = True
        to = f"version {trial.fallback} is back" if trial.fallback else "it is out of the split"
        logger.warning("%s version %s is quarantined (%s); %s.", model, version, finding.text, to)
        self._publish()
        return True


def trials_of(targets: Mapping[str, Target]) -> list[Trial]:
    """Who is watched: champions that have a fallback, and the variants of splits."""
    found = []
    for model, target in targets.items():
        if target.fallback:
            back = target.fallback.version
            found.append(Trial(model, target.version, target.since, back, back))
        found += [
            Trial(model, bundle.version, "", "", target.version) for _, bundle, _ in target.split
        ]
    return found


def _begun(trial: Trial, last: Totals, now: float) -> _Watch:
    return _Watch(
        start=last.get((trial.model, trial.version), VersionStats()),
        before=last.get((trial.model, trial.previous), VersionStats()),
        started=now,
    )
