"""Models that are retired: served no more, worked on no more, and forgotten by nobody.

Who retired a model or brought it back, when and why, is a row each in the lake. A tag of the
registered model says the same to serving, which knows no lake; the alias `champion` is taken away
and comes back. Each step may be repeated, so a retirement that is killed is finished by running it
again.
"""

from dataclasses import dataclass
from datetime import datetime

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.numbered_rows import NumberedRow, NumberedRows
from mlops_assets.stores.quarantine import refuse_quarantined
from mlops_assets.stores.registry import CHAMPION, RETIRED_TAG, Registry
from mlops_assets.stores.releases import Releases

TABLE = "retirements"


@dataclass(frozen=True)
class Retirement(NumberedRow):
    """A model was retired, or brought back. `number` counts its rows from 0, in their order.

    `version` is the champion that was taken out of service or put back; empty if there was none.
    """

    retired: bool
    version: str
    actor: str
    reason: str
    at: str
    loop_time: str

    @property
    def text(self) -> str:
        """Who, when and why, in a line."""
        done = "retired" if self.retired else "brought back"
        line = f"{done} by {self.actor} at {self.at[:16].replace('T', ' ')} UTC"
        return f"{line}: {self.reason}" if self.reason else line


@dataclass(frozen=True)
class RetirementLog:
    """The rows in the lake; asking them asks no registry."""

    lake: Lake

    def of(self, model: str) -> list[Retirement]:
        """All rows of a model, oldest first."""
        return self._rows.of(model)

    def current(self, model: str) -> Retirement | None:
        """The retirement that is in force."""
        last = self.of(model)[-1:]
        return last[0] if last and last[0].retired else None

    def add(self, row: Retirement) -> None:
        """Write a row, once."""
        self._rows.add(row)

    @property
    def _rows(self) -> NumberedRows[Retirement]:
        return NumberedRows(self.lake, TABLE, "retirement", Retirement)


@dataclass(frozen=True)
class Retirements:
    """Takes models out of service and puts them back, under the lock of releases."""

    releases: Releases

    def retire(
        self, model: str, *, actor: str, reason: str, at: datetime, loop_time: datetime
    ) -> tuple[Retirement, bool]:
        """Take a model out of service; returns the row in force, and whether it is a new one.

        Repeated, it only finishes what was left to do. Raises ReleaseError for a model that has no
        version, so that a mistyped name is told.
        """
        with self.releases.lock(model):
            log, registry = RetirementLog(self.releases.lake), self.releases.registry
            if not registry.versions(model):
                raise ReleaseError(f"{model} has no version: there is nothing to retire.")
            row, before = log.current(model), log.of(model)
            new = row is None
            if row is None:
                champion = registry.aliases(model).get(CHAMPION, "")
                row = Retirement(
                    model,
                    len(before),
                    True,
                    champion,
                    actor,
                    reason,
                    at.isoformat(),
                    loop_time.isoformat(),
                )
                log.add(row)
            _take_out(registry, row)
            return row, new

    def bring_back(
        self, model: str, *, actor: str, reason: str, at: datetime, loop_time: datetime
    ) -> tuple[Retirement | None, bool]:
        """Put the model back with the champion that it had; like `retire`, it may be repeated.

        Raises ReleaseError when that version is under quarantine.
        """
        with self.releases.lock(model):
            log, registry = RetirementLog(self.releases.lake), self.releases.registry
            retired, before = log.current(model), log.of(model)
            if retired is None:
                last = before[-1] if before else None
                if last is not None:
                    _put_back(registry, last)
                return last, False
            if retired.version:
                refuse_quarantined(registry.version(model, retired.version))
            row = Retirement(
                model,
                len(before),
                False,
                retired.version,
                actor,
                reason,
                at.isoformat(),
                loop_time.isoformat(),
            )
            log.add(row)
            _put_back(registry, row)
            return row, True


def _take_out(registry: Registry, row: Retirement) -> None:
    # The tag first: serving asks it why the alias is gone.
    registry.set_model_tag(row.model, RETIRED_TAG, row.at)
    registry.remove_alias(row.model, CHAMPION)


def _put_back(registry: Registry, row: Retirement) -> None:
    if not registry.model_tags(row.model).get(RETIRED_TAG):
        return
    if row.version:
        registry.set_alias(row.model, CHAMPION, row.version)
    registry.set_model_tag(row.model, RETIRED_TAG, "")
