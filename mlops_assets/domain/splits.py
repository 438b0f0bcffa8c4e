"""Which periods train, choose and judge a challenger: a split by time, never by chance."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlops_assets.domain.errors import NotTrainableError

PARTS = ("train", "validation", "holdout")


@dataclass(frozen=True)
class Split:
    """Keys of periods, oldest first: `train` < `validation` < `holdout`.

    Nothing is fitted on more than `last` periods (None: any number): candidates on `train`, the
    winner on `refit`.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    holdout: tuple[str, ...]
    last: int | None = field(default=None, repr=False)

    @property
    def periods(self) -> tuple[str, ...]:
        """All of them, oldest first."""
        return self.train + self.validation + self.holdout

    @property
    def searched(self) -> tuple[str, ...]:
        """What the search sees: all but the holdout."""
        return self.train + self.validation

    @property
    def refit(self) -> tuple[str, ...]:
        """What the winner is fitted on: the newest `last` periods before the holdout."""
        return self.searched if self.last is None else self.searched[-self.last :]


def split_periods(
    periods: Sequence[str], *, validation: int, holdout: int, last: int | None, least: int
) -> Split:
    """Cut `periods` (with labelled rows, oldest first) into the three parts.

    `last` is the number of periods that a model is fitted on, None for all; fewer than `least`
    training periods raise NotTrainableError.
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
        last=last,
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
        # Sets without a window go on having the ids that they had before there were windows.
        content += [] if self.split.last is None else [f"last {self.split.last}"]
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
        split = {name: tuple(data["split"][name]) for name in PARTS}
        return cls(
            model=data["model"],
            as_of=data["as_of"],
            spec_hash=data["spec_hash"],
            table_version=data["table_version"],
            split=Split(**split, last=data["split"].get("last")),
            periods=tuple(PeriodRows(**period) for period in data["periods"]),
        )
