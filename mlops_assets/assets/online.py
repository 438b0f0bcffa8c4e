"""The asset that publishes an entity's past for serving: online_history."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from mlops_assets.assets.data import RETRIES
from mlops_assets.assets.options import key, options
from mlops_assets.domain.history import LENGTHS
from mlops_assets.resources import Stores
from mlops_assets.spec import Model


def online_history(model: Model) -> dg.AssetsDefinition:
    """The asset of what serving looks up."""
    name = key(model, "online_history")

    @dg.asset(
        **options(model, "online_history", group="data", kinds={"sql"}, per_period=False),
        description="Past events by key in the online store, up to the end of the newest period "
        "that is over and ingested. Replaced as a whole; requests that leave out the inputs of "
        "`history` are answered from it.",
        deps=[dg.AssetDep(key(model, "features"), partition_mapping=dg.AllPartitionMapping())],
        retry_policy=RETRIES,
        freshness_policy=_freshness(model),
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                "published_in_time",
                asset=name,
                description="Every period that is over is published.",
            )
        ],
    )
    def _online_history(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.stores.online_publication import publish, with_rules_of_versions

        ready = set(context.instance.get_materialized_partitions(key(model, "features")))
        wanted = with_rules_of_versions(model, stores.lake, stores.bundles)
        found = publish(wanted, stores.lake, stores.online, ready, stores.clock.now())
        if found is not None:
            yield dg.MaterializeResult(
                metadata={
                    "published_until": found.until.isoformat(),
                    "keys": found.keys,
                    "events": found.events,
                }
            )
        yield dg.AssetCheckResult(
            passed=found is None or found.is_fresh,
            check_name="published_in_time",
            asset_key=name,
            severity=dg.AssetCheckSeverity.WARN,
            description="no period is over and ingested yet"
            if found is None
            else f"published until {found.until:%Y-%m-%d %H:%M}, periods were over until "
            f"{found.due:%Y-%m-%d %H:%M}",
        )

    return _online_history


def _freshness(model: Model) -> dg.FreshnessPolicy | None:
    """Dagster's own watch: a publication per period. A history that has ended needs none."""
    if model.spec.period.end is not None:
        return None
    length = LENGTHS[model.calendar.every]
    return dg.FreshnessPolicy.time_window(fail_window=2 * length, warn_window=1.5 * length)
