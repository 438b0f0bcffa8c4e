"""What the replicas of this node have counted, summed over their snapshots."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_assets.domain.guard import VersionStats

logger = logging.getLogger(__name__)

# Counts by model and version.
Totals = Mapping[tuple[str, str], VersionStats]


class SnapshotReader:
    """Sums the snapshots of a folder; only files that changed are read again.

    Files of processes that ended count on, so that no sum ever falls. A file that cannot be read
    counts with what it said last.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[
            str, tuple[tuple[int, int, int], dict[tuple[str, str], VersionStats]]
        ] = {}

    def totals(self) -> Totals:
        """Counts of every version that was served from this node."""
        for path in sorted(self._folder.glob("*.json")):
            self._read(path)
        found: dict[tuple[str, str], VersionStats] = {}
        for _, counts in self._files.values():
            for key, stats in counts.items():
                found[key] = found[key] + stats if key in found else stats
        return found

    def _read(self, path: Path) -> None:
        try:
            stat = path.stat()
            signature = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            known = self._files.get(path.name)
            if known and known[0] == signature:
                return
            # A file that cannot be read is told once.
            self._files[path.name] = (signature, known[1] if known else {})
            self._files[path.name] = (signature, counts_of(json.loads(path.read_bytes())))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be read: %r", path.name, error)


def counts_of(snapshot: Mapping[str, Any]) -> dict[tuple[str, str], VersionStats]:
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
