"""Retrains that were started before: for what evidence, and what came of them."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_assets.domain.evidence import PeriodEvidence

# at work: not ended. void: nothing was learned, because the run died, or its challenger can no
# longer be released. refused: the challenger failed its gates. waits: it passed them, and may be
# released. serves: it was released. taken back: and then rolled back, or stopped on its way.
Outcome = Literal["at work", "void", "refused", "waits", "serves", "taken back"]

# Harm that has grown by this factor is something new.
GROWTH = 2.0


@dataclass(frozen=True)
class Cause:
    """What flagged: which columns drifted, and by how much the loss exceeded the release's.

    `version` is the one whose reference was compared with; `harm` is None where none is proven.
    """

    version: str
    columns: frozenset[str]
    harm: float | None

    @classmethod
    def of(cls, evidence: PeriodEvidence) -> "Cause":
        """What flagged in a period."""
        harm = None
        if evidence.proven_harm:
            harm = (evidence.loss or 0.0) - (evidence.reference_loss or 0.0)
        columns = frozenset(evidence.drift_flagged) if evidence.drifted else frozenset()
        return cls(evidence.version, columns, harm)

    @property
    def fingerprint(self) -> str:
        """12 hex digits: harm to the same version is the same, and so are the same columns."""
        what = sorted(self.columns) if self.harm is None else ["harm"]
        key = json.dumps([self.version, self.harm is not None, what])
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    @property
    def text(self) -> str:
        """What flagged, in words."""
        found = [] if self.harm is None else [f"loss {self.harm:+.4f}"]
        found += [f"drift in {', '.join(sorted(self.columns))}"] if self.columns else []
        return " and ".join(found) or "nothing flagged"

    def covers(self, later: "Cause") -> bool:
        """Whether `later` tells nothing new about the same version.

        Harm is new where there was none, or where it has doubled; beside harm it does not matter
        which columns flag. Without harm another column is new, and fewer are not, because which
        of them flag varies by chance.
        """
        if later.version != self.version:
            return False
        if later.harm is not None:
            return self.harm is not None and later.harm <= GROWTH * self.harm
        return later.columns <= self.columns


@dataclass(frozen=True)
class PastRetrain:
    """A retrain that a decision started, at a time of the loop's clock.

    `challenger` is the version it made, empty where it made none.
    """

    decision: str
    period: str
    at: datetime
    cause: Cause
    outcome: Outcome
    challenger: str = ""
