"""Quarantine: versions that must not serve, until a person lets them out.

A tag of the version says so, and every way to traffic looks at it: releases, splits and shadows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.plan import SHADOW_TAG, SPLIT_TAG, version_named
from mlops_assets.domain.split import split_of_json
from mlops_assets.stores.incidents import Incident, Incidents
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import QUARANTINED_TAG, Registry, Version


@dataclass(frozen=True)
class Quarantine:
    """Puts versions under quarantine and lets them out; call it with the model's lock held."""

    registry: Registry
    lake: Lake

    def begin(self, incident: Incident) -> None:
        """Take the incident's version out of all traffic beside the champion's; may be repeated."""
        model, version = incident.model, incident.version
        why = f"{incident.kind}: {incident.reasons}"[:500]
        self.registry.set_tags(model, version, {QUARANTINED_TAG: why})
        tags, aliases = self.registry.model_tags(model), self.registry.aliases(model)
        self._leave_split(model, version, tags, aliases)
        shadow = tags.get(SHADOW_TAG, "")
        if version == aliases.get(shadow, shadow):
            self.registry.set_model_tag(model, SHADOW_TAG, "")
        Incidents(self.lake).add(incident)

    def end(self, incident: Incident) -> None:
        """Let the version serve again. Raises ReleaseError if it is not under quarantine."""
        held = self.registry.version(incident.model, incident.version).quarantined
        if not held:
            raise ReleaseError(f"{incident.model} version {incident.version} is not quarantined.")
        # First the record: a quarantine must not end without one.
        Incidents(self.lake).add(incident)
        self.registry.remove_tag(incident.model, incident.version, QUARANTINED_TAG)

    def _leave_split(
        self, model: str, version: str, tags: Mapping[str, str], aliases: Mapping[str, str]
    ) -> None:
        try:
            split = split_of_json(tags.get(SPLIT_TAG, "") or "{}")
        except ReleaseError:
            # Nobody gets traffic by a split that makes no sense.
            return
        gone = [arm.variant for arm in split.arms if version_named(arm, aliases) == version]
        if gone:
            left = split.without(gone)
            self.registry.set_model_tag(model, SPLIT_TAG, left.to_json() if left.arms else "")


def refuse_quarantined(version: Version) -> None:
    """Raises ReleaseError if the version must not serve."""
    if version.quarantined:
        raise ReleaseError(
            f"{version.model} version {version.version} is quarantined ({version.quarantined}); "
            f"if it is good after all, `mlops unquarantine {version.model} {version.version}` lets "
            "it out."
        )
