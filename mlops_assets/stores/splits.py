"""Who answers beside the champion, and who only watches: set by people and by automation.

Both are tags of the registered model, so any other client of the registry may set them, too; what
makes no sense is refused here, and left out by whoever reads it.
"""

from dataclasses import dataclass, replace

from mlops_assets.domain.errors import ReleaseError
from mlops_assets.domain.plan import (
    SHADOW_TAG,
    SPLIT_TAG,
    ServingPlan,
    refused_shadow,
    refused_traffic,
    version_named,
)
from mlops_assets.domain.split import CHAMPION, Arm, Split
from mlops_assets.stores.registry import SPLIT_FORCED_TAG
from mlops_assets.stores.releases import Releases


@dataclass(frozen=True)
class Splits:
    """Sets splits and shadows under the lock that releases take."""

    releases: Releases

    def split(self, model: str, asked: Split, *, actor: str, force: bool = False) -> ServingPlan:
        """Share the model's traffic; no arms give the champion everything.

        Each variant is given the version that its name means now, and keeps it: who moves the
        alias later does not change who answers. Raises ReleaseError for a version that is the
        champion, is quarantined, or has not passed its gates (unless `force`d by `actor`).
        """
        with self.releases.lock(model):
            self.plan(model)
            arms = tuple(self._pinned(model, arm, actor, force) for arm in asked.arms)
            registry = self.releases.registry
            registry.set_model_tag(model, SPLIT_TAG, Split(arms).to_json() if arms else "")
        return self.plan(model)

    def shadow(self, model: str, asked: str) -> ServingPlan:
        """Let a version, or whatever an alias names, score a copy of the traffic; empty: nobody.

        It need not have passed its gates. Raises ReleaseError for the champion, a quarantined
        version, or one that does not exist.
        """
        with self.releases.lock(model):
            registry = self.releases.registry
            served = self.plan(model).champion.version
            if asked:
                version = registry.aliases(model).get(asked, asked)
                standing = registry.version(model, version).standing
                refusal = refused_shadow(version, standing)
                if refusal:
                    raise ReleaseError(f"{model}: {refusal}.")
                if asked == served:
                    raise ReleaseError(f"{model}: version {version} is the champion already.")
            registry.set_model_tag(model, SHADOW_TAG, asked)
        return self.plan(model)

    def plan(self, model: str) -> ServingPlan:
        """What is served now. Raises ReleaseError if the model has no champion."""
        plan = self.releases.registry.plans().get(model)
        if plan is None:
            raise ReleaseError(f"{model} has no champion: nothing is served of it.")
        return plan

    def _pinned(self, model: str, arm: Arm, actor: str, force: bool) -> Arm:
        registry = self.releases.registry
        aliases = registry.aliases(model)
        version = version_named(arm, aliases)
        found = registry.version(model, version)
        if version == aliases.get(CHAMPION):
            raise ReleaseError(f"{model}: {arm.variant} is version {version}, the champion.")
        if force and not found.passed_gates:
            registry.set_tags(model, version, {SPLIT_FORCED_TAG: actor})
            found = registry.version(model, version)
        refusal = refused_traffic(version, found.standing)
        if refusal:
            hint = "" if found.quarantined else "; --force gives it traffic all the same"
            raise ReleaseError(f"{model}: {refusal}{hint}.")
        return replace(arm, version=version)
