"""What the replicas of this node have counted, summed over their snapshots."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from mlops_assets.domain.guard import VersionStats

logger = logging.getLogger(__name__)

# Counts by model and version.
Totals = Mapping[tuple[str, str], VersionStats]


@dataclass(frozen=True)
class _File:
    """What a snapshot said when its file was this old and large."""

    signature: tuple[int, ...]
    content: Mapping[str, Any] | None
    counts: Totals


class SnapshotReader:
    """Reads the snapshots of a folder; only files that changed are read again.

    Files of processes that ended count on, so that no sum ever falls. A file that cannot be read
    counts with what it said last. Safe to share by threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._reading = threading.Lock()

    def snapshots(self) -> list[Mapping[str, Any]]:
        """What each process has counted, as it wrote it."""
        return [one.content for one in self._read_all() if one.content is not None]

    def totals(self) -> Totals:
        """Counts of every version that was served from this node."""
        found: dict[tuple[str, str], VersionStats] = {}
        for one in self._read_all():
            for key, stats in one.counts.items():
                found[key] = found[key] + stats if key in found else stats
        return found

    def _read_all(self) -> list[_File]:
        with self._reading:
            for path in sorted(self._folder.glob("*.json")):
                self._read(path)
            return list(self._files.values())

    def _read(self, path: Path) -> None:
        try:
            stat = path.stat()
            signature = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            known = self._files.get(path.name, _File((), None, {}))
            if known.signature == signature:
                return
            # A file that cannot be read is told once.
            self._files[path.name] = replace(known, signature=signature)
            content = orjson.loads(path.read_bytes())
            self._files[path.name] = _File(signature, content, counts_of(content))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be read: %r", path.name, error)


def counts_of(snapshot: Mapping[str, Any]) -> Totals:
    """The counts in one snapshot. Raises KeyError, TypeError or ValueError for what is none."""
    return {
        (model, version): _stats(counts)
        for model, content in snapshot["models"].items()
        for version, counts in content["versions"].items()
    }


def _stats(counts: Mapping[str, Any]) -> VersionStats:
    return VersionStats(
        requests=int(counts["requests"]),
        rows=int(counts["rows"]),
        exceptions=int(counts["exceptions"]),
        invalid_outputs=int(counts["invalid_outputs"]),
        latency_le=tuple(map(float, counts["latency_le"])),
        latency_counts=tuple(map(int, counts["latency_counts"])),
        output_min=tuple(map(float, counts["output_min"])),
        output_max=tuple(map(float, counts["output_max"])),
        distinct_inputs=int(counts.get("distinct_inputs", 0)),
    )
