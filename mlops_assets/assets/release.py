"""The release: champion."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets.assets.options import key, options
from mlops_assets.resources import Stores
from mlops_assets.spec import Model


def champion(model: Model) -> dg.AssetsDefinition:
    """The asset of the version that serves."""
    manual = model.spec.gates.approval == "manual"
    walks = model.spec.serving.canary == "auto"

    @dg.asset(
        **options(model, "champion", group="release", kinds={"mlflow"}, per_period=False),
        description="The version that serves: the registry's alias, moved by the one release "
        "function after every gate was passed, with a record of who, when, why, from and to."
        + (" Waits for a person: materialise it, or run `mlops approve`." if manual else "")
        + (" A challenger walks as a canary first." if walks else ""),
        deps=[key(model, "challenger")],
    )
    def _champion(context: dg.AssetExecutionContext, stores: Stores) -> Any:
        from mlops_assets.stores.registry import CHALLENGER, CHAMPION

        candidate = stores.registry.alias(model.name, CHALLENGER)
        if candidate is None:
            raise dg.Failure(f"{model.name} has no challenger: materialise it first.")
        reason = context.run.tags.get("mlops/reason", "started by hand")
        serving = stores.registry.aliases(model.name).get(CHAMPION)
        if walks and serving not in (None, candidate.version):
            return _begun(model, stores, candidate, reason, context.run.run_id)
        record = stores.releases.release(
            model.name,
            candidate.version,
            expected_champion=candidate.tags.get("judged_against") or None,
            actor=context.run.tags.get("mlops/actor", "dagster"),
            reason=reason,
            at=datetime.now(UTC),
            loop_time=stores.clock.now(),
            run_id=context.run.run_id,
            evidence=candidate.release_evidence,
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{model.name}-{record.to_version}"),
            metadata={
                "version": record.to_version,
                "previous_version": record.from_version,
                "release": record.id,
                "released_at": record.at,
                "actor": record.actor,
                "reason": record.reason,
                "evidence": dg.MetadataValue.json(record.evidence_values),
            },
        )

    return _champion


def _begun(model: Model, stores: Stores, candidate: Any, reason: str, run_id: str) -> Any:
    """Begin a canary; the version that serves stays the same."""
    from mlops_assets.assets.canary_start import begin

    canary = begin(model, stores, candidate, reason=reason, run_id=run_id)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{model.name}-{canary.champion}"),
        metadata={
            "version": canary.champion,
            "canary": canary.version,
            "canary_weight": canary.weight,
            "reason": f"{canary.text}: {reason}",
        },
    )
