"""Which periods train, choose and judge a challenger: a split by time, never by chance."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlops_assets.domain.errors import NotTrainableError


@dataclass(frozen=True)
class Split:
    """Keys of periods, oldest first: `train` < `validation` < `holdout`."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    holdout: tuple[str, ...]

    @property
    def periods(self) -> tuple[str, ...]:
        """All of them, oldest first."""
        return self.train + self.validation + self.holdout

    @property
    def refit(self) -> tuple[str, ...]:
        """What the winner is fitted on: all but the holdout."""
        return self.train + self.validation


def split_periods(
    periods: Sequence[str], *, validation: int, holdout: int, last: int | None, least: int
) -> Split:
    """Cut `periods` (with labelled rows, oldest first) into the three parts.

    `last` keeps only so many training periods; fewer than `least` of them raise
    NotTrainableError.
    """
    ordered = sorted(periods)
    available = len(ordered) - validation - holdout
    if available < least:
        raise NotTrainableError(
            f"{len(ordered)} periods have labels, but training needs at least "
            f"{least + validation + holdout} (training.window.min {least} + validation "
            f"{validation} + holdout {holdout}): ingest more history or lower these numbers."
        )
    train = ordered[:available]
    if last is not None:
        train = train[-last:]
    return Split(
        train=tuple(train),
        validation=tuple(ordered[available : available + validation]),
        holdout=tuple(ordered[available + validation :]),
    )


@dataclass(frozen=True)
class PeriodRows:
    """What one period contributes: its labelled rows and the hash of its content."""

    period: str
    rows: int
    content_hash: str


@dataclass(frozen=True)
class TrainingSet:
    """A frozen manifest: everything needed to read the same training rows again.

    Rows are those of `features` at `table_version`, in the periods of `split`, whose label was
    known at `as_of` (ISO 8601).
    """

    model: str
    as_of: str
    spec_hash: str
    table_version: int
    split: Split
    periods: tuple[PeriodRows, ...]
    id: str = field(init=False)

    def __post_init__(self) -> None:
        names = ("model", "as_of", "spec_hash", "table_version", "split", "periods")
        content = [repr(getattr(self, name)) for name in names]
        digest = hashlib.sha256("\n".join(content).encode()).hexdigest()
        object.__setattr__(self, "id", digest[:16])

    @property
    def rows(self) -> int:
        """Labelled rows in all three parts."""
        return sum(period.rows for period in self.periods)

    @property
    def data_hash(self) -> str:
        """One hash over the content of all periods."""
        joined = "\n".join(f"{p.period} {p.content_hash}" for p in self.periods)
        return hashlib.sha256(joined.encode()).hexdigest()

    def to_json(self) -> str:
        """Serialise the manifest."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, raw: str) -> "TrainingSet":
        """Read what `to_json` wrote."""
        data: Mapping[str, Any] = json.loads(raw)
        split = {name: tuple(keys) for name, keys in data["split"].items()}
        return cls(
            model=data["model"],
            as_of=data["as_of"],
            spec_hash=data["spec_hash"],
            table_version=data["table_version"],
            split=Split(**split),
            periods=tuple(PeriodRows(**period) for period in data["periods"]),
        )
