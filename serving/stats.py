"""What this process has served, counted by model version, and its snapshot for others to read.

Counting happens on the way of every request, so it is a few additions to plain lists. Twice a
second the counts are written to a small file of this process; the guard, /metrics of any replica
and `mlops status` add up the files of all processes. Counts of a process that ended stay in its
file, so sums never fall.
"""

import bisect
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.serving_stats import SnapshotReader

# Upper bounds of the latency histogram's buckets, in seconds; one more bucket holds the rest.
LATENCY_BOUNDS = (
    0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
SNAPSHOT_SECONDS = 0.5
ENOUGH_DISTINCT = 100
# Clients that send the same few rows for ever need not be looked at for ever.
MOST_LOOKS = 10_000


@dataclass(slots=True)
class VersionStats:
    """The counts of one version of one model."""

    requests: int = 0
    rows: int = 0
    exceptions: int = 0
    invalid_outputs: int = 0
    fallbacks: int = 0
    shadow_rows: int = 0
    unlogged: int = 0
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    latency_sum: float = 0.0
    output_min: list[float] = field(default_factory=list)
    output_max: list[float] = field(default_factory=list)
    unknown_categories: dict[str, int] = field(default_factory=dict)
    distinct_inputs: int = 0
    seen: set[int] = field(default_factory=set)
    looks: int = 0

    @property
    def is_looking(self) -> bool:
        """Whether it still matters which rows come."""
        return self.distinct_inputs < ENOUGH_DISTINCT and self.looks < MOST_LOOKS

    def saw(self, row: object) -> None:
        """Count different rows, up to ENOUGH_DISTINCT: the same answer to the same row is right."""
        if self.is_looking:
            self.looks += 1
            # By its text, because a missing number is unlike itself.
            self.seen.add(hash(repr(row)))
            self.distinct_inputs = len(self.seen)

    def answered(self, outputs: list[list[float]] | np.ndarray, seconds: float) -> None:
        """Count one answered request with its outputs, of shape (n, outputs)."""
        self.requests += 1
        self.rows += len(outputs)
        self.latency_sum += seconds
        self.latency_counts[bisect.bisect_left(LATENCY_BOUNDS, seconds)] += 1
        if isinstance(outputs, np.ndarray):
            # numpy takes ten times as long across rows.
            columns = np.ascontiguousarray(outputs.T)
            self._widen(columns.min(axis=1).tolist(), columns.max(axis=1).tolist())
        else:
            for output in outputs:
                self._widen(output, output)

    def _widen(self, lowest: list[float], highest: list[float]) -> None:
        if not self.output_min:
            self.output_min, self.output_max = list(lowest), list(highest)
            return
        self.output_min = [min(a, b) for a, b in zip(self.output_min, lowest, strict=True)]
        self.output_max = [max(a, b) for a, b in zip(self.output_max, highest, strict=True)]


# The fields of VersionStats that a snapshot has.
COUNTED = tuple(name for name in VersionStats.__slots__ if name not in ("seen", "looks"))


@dataclass(slots=True)
class LookUp:
    """Rows whose inputs were looked up: all, those of keys without a past, as of a publication that
    was too old, and without an answer of the store. `age_seconds` is from the newest publication to
    the newest of the rows.
    """

    rows: int = 0
    unknown: int = 0
    stale: int = 0
    failed: int = 0
    age_seconds: float | None = None


class Stats:
    """The counts of this process. Safe to share by threads: every change is made under `lock`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.lock = threading.Lock()
        self._started = time.time()
        self._path = folder and folder / f"{os.getpid()}-{int(self._started * 1000)}.json"
        self._reader = SnapshotReader(folder) if folder else None
        self._versions: dict[tuple[str, str], VersionStats] = {}
        self._refused: dict[str, dict[str, int]] = {}
        self._swaps: dict[str, list[float]] = {}
        self._shadow_dropped: dict[str, int] = {}
        self._looked_up: dict[str, LookUp] = {}
        self._written = b""
        self._stop = threading.Event()

    def version(self, model: str, version: str) -> VersionStats:
        """The counts of one version, to be changed under `lock`, which the caller must not hold."""
        key = (model, version)
        found = self._versions.get(key)
        if found is None:
            with self.lock:
                found = self._versions.setdefault(key, VersionStats())
        return found

    def refused(self, model: str, status: int) -> None:
        """Count a request that got no prediction; `model` is empty where none was named."""
        with self.lock:
            kinds = self._refused.setdefault(model, {})
            kinds[str(status)] = kinds.get(str(status), 0) + 1

    def swapped(self, model: str, seconds: float) -> None:
        """Count a new version that took over; `seconds` is how long loading it took."""
        with self.lock:
            self._swaps.setdefault(model, []).append(seconds)

    def shadow_dropped(self, model: str, requests: int) -> None:
        """Count requests that the shadow had no time for."""
        with self.lock:
            self._shadow_dropped[model] = self._shadow_dropped.get(model, 0) + requests

    def looked_up(self, model: str, more: LookUp) -> None:
        """Count rows whose inputs were looked up."""
        with self.lock:
            known = self._looked_up.setdefault(model, LookUp())
            for name in ("rows", "unknown", "stale", "failed"):
                setattr(known, name, getattr(known, name) + getattr(more, name))
            if more.age_seconds is not None:
                known.age_seconds = more.age_seconds

    def snapshot(self) -> dict[str, Any]:
        """All counts, as in the file."""
        with self.lock:
            models: dict[str, Any] = {}
            for (model, version), counts in self._versions.items():
                models.setdefault(model, {}).setdefault("versions", {})[version] = {
                    "latency_le": LATENCY_BOUNDS,
                    **{name: getattr(counts, name) for name in COUNTED},
                }
            for model, seconds in self._swaps.items():
                models.setdefault(model, {"versions": {}}).update(
                    swaps=len(seconds), swap_seconds=seconds[-1]
                )
            for model, requests in self._shadow_dropped.items():
                models.setdefault(model, {"versions": {}})["shadow_dropped"] = requests
            for model, counts_of in self._looked_up.items():
                models.setdefault(model, {"versions": {}})["looked_up"] = asdict(counts_of)
            content = {
                "pid": os.getpid(),
                "started": self._started,
                "refused": self._refused,
                "models": models,
            }
            copied: dict[str, Any] = orjson.loads(orjson.dumps(content))
        return copied

    def write(self) -> None:
        """Write the snapshot if something changed; does nothing without a folder."""
        if self._path is None:
            return
        counts = self.snapshot()
        content = orjson.dumps(counts)
        if content != self._written:
            snapshot = orjson.dumps({**counts, "at": time.time()})
            # Not durable: a sync would stop the prediction log's writers, twice a second.
            write_atomically(self._path, snapshot, durable=False)
            self._written = content

    def everywhere(self) -> Sequence[Mapping[str, Any]]:
        """The snapshots of all processes of this node, this one's as it is now."""
        if self._path is None or self._reader is None:
            return [self.snapshot()]
        self.write()
        return self._reader.snapshots()

    def start(self) -> None:
        """Write snapshots in the background until `stop`."""
        threading.Thread(target=self._keep_writing, name="stats", daemon=True).start()

    def stop(self) -> None:
        """Stop writing."""
        self._stop.set()

    def _keep_writing(self) -> None:
        while not self._stop.wait(SNAPSHOT_SECONDS):
            try:
                self.write()
            except OSError:
                # A full disk: the counts stay in memory and are written later.
                continue
