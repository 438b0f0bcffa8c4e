"""The canary's walk, one look per period: canary."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from mlops_assets.assets.options import key, materialized, options
from mlops_assets.resources import Stores
from mlops_assets.spec import Model


def canary(model: Model) -> dg.AssetsDefinition:
    """The asset of the looks at a canary; only models with `serving.canary: auto` have it."""
    name = key(model, "canary")

    @dg.asset(
        **options(model, "canary", group="release", kinds={"mlflow"}, per_period=True),
        description="How the challenger does that answers a share of the traffic: its loss against "
        "the champion's on all labels known by now, as a confidence sequence, and the next share "
        "that follows: 1, 10, 50, 100%, or none.",
        deps=[key(model, "predictions"), key(model, "ground_truth")],
        check_specs=[
            dg.AssetCheckSpec(
                "challenger_holds",
                asset=name,
                description="The challenger that answers a share is not surely worse.",
            )
        ],
    )
    def _canary(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.walk import look

        found = {p: look(model, stores, p, context.run.run_id) for p in context.partition_keys}
        for period, seen in found.items():
            context.log.info(f"{period}: {seen.action}: {seen.reason}")
            if seen.release is not None:
                yield _released(model, seen.release)
        yield dg.AssetCheckResult(
            passed=not any(seen.harm for seen in found.values()),
            check_name="challenger_holds",
            asset_key=name,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(seen.reason for seen in found.values())[:2000],
            metadata={"periods": list(found)},
        )
        yield from materialized(
            context, {}, {period: _metadata(seen) for period, seen in found.items()}
        )

    return _canary


def _metadata(seen: Any) -> dict[str, Any]:
    content = seen.content()
    figures = {
        name: value
        for name, value in content["comparison"].items()
        if value is not None and name != "reason"
    }
    return {
        "action": seen.action,
        "weight": seen.weight,
        "reason": seen.reason,
        "version": seen.canary.version if seen.canary else "none",
        **figures,
    }


def _released(model: Model, record: Any) -> dg.AssetMaterialization:
    """The champion has moved, though its own asset did not run."""
    return dg.AssetMaterialization(
        asset_key=key(model, "champion"),
        metadata={
            "version": record.to_version,
            "previous_version": record.from_version,
            "release": record.id,
            "actor": record.actor,
            "reason": record.reason,
            "evidence": dg.MetadataValue.json(record.evidence_values),
        },
    )
