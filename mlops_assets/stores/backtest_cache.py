"""What backtests have trained and judged, on disk: a second policy, or a second run, is quick.

A folder per model, relevant part of its spec, rows and library version; in it a file of outputs
per training and a file per report. Numbers only: nothing here can run code when it is read. A
file is whole or not there, so a backtest that was killed goes on where it was.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.learner import Reported, Training
from mlops_assets.domain.training import Trial
from mlops_assets.spec import Model
from mlops_assets.stores.files import write_atomically

FORMAT = 3
# What decides what a training gives and what the reports say of it; prices and policies do not.
PARTS = {"task", "label", "weight", "period", "columns", "derived", "training", "monitoring"}


@dataclass(frozen=True, eq=False)
class Scored:
    """What a version says about all rows (n, k) from the period `end` of its training on."""

    classes: tuple[str, ...]
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class BacktestCache:
    """The files of one history of one model."""

    folder: Path

    @classmethod
    def of(cls, root: Path, model: Model, content: str) -> "BacktestCache":
        """The cache of a history whose rows are named by `content`."""
        from sklearn import __version__

        spec = model.spec.model_dump_json(include=PARTS)
        key = json.dumps([FORMAT, spec, content, __version__])
        return cls(root / model.name / hashlib.sha256(key.encode()).hexdigest()[:16])

    def trial(self) -> Trial | None:
        """The candidate that the search chose, if it was made."""
        found = self._json("trial.json")
        return None if found is None else Trial(**found)

    def keep_trial(self, trial: Trial) -> None:
        """Keep what the search chose."""
        self._keep("trial.json", asdict(trial))

    def scored(self, training: Training) -> Scored | None:
        """Outputs of a version, if it was trained."""
        path = self.folder / f"{_name(training)}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as found:
            return Scored(tuple(str(name) for name in found["classes"]), found["outputs"])

    def keep_scored(self, training: Training, scored: Scored) -> None:
        """Keep a version's outputs."""
        buffer = io.BytesIO()
        classes = np.array(scored.classes, dtype=str)
        np.savez_compressed(buffer, classes=classes, outputs=scored.outputs)
        write_atomically(self.folder / f"{_name(training)}.npz", buffer.getvalue(), durable=False)

    def report(self, training: Training, period: str, delay: int) -> Reported | None:
        """What the reports on a version said of a period, if they were made.

        `delay` is that of the labels: what is known of slow decay hangs on it.
        """
        found = self._json(f"{_name(training)}/{period}-{delay}.json")
        if found is None:
            return None
        return Reported(**{**found, "drift_flagged": tuple(found["drift_flagged"])})

    def keep_report(self, training: Training, period: str, delay: int, report: Reported) -> None:
        """Keep what the reports said."""
        self._keep(f"{_name(training)}/{period}-{delay}.json", asdict(report))

    def _json(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        return json.loads(path.read_bytes()) if path.exists() else None

    def _keep(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.folder / name, json.dumps(content).encode(), durable=False)


def _name(training: Training) -> str:
    return f"{training.end:04d}-{training.window or 'all'}"
