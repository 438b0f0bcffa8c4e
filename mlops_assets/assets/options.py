"""What all assets of a model have in common."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from mlops_assets.domain.periods import CRON, KEY_FORMAT, Calendar
from mlops_assets.spec import Model


def partitions(calendar: Calendar) -> dg.TimeWindowPartitionsDefinition:
    """The Dagster partitions with the same keys as the calendar's periods."""
    return dg.TimeWindowPartitionsDefinition(
        start=calendar.first,
        end=calendar.stop,
        cron_schedule=CRON[calendar.every],
        fmt=KEY_FORMAT[calendar.every],
        timezone="UTC",
    )


def options(
    model: Model, name: str, *, group: str, kinds: set[str], per_period: bool
) -> dict[str, Any]:
    """Arguments of `dg.asset`: key, group, owner, kinds, purpose, partitions, code version."""
    found: dict[str, Any] = {
        "name": name,
        "key_prefix": [model.name],
        "group_name": group,
        "owners": [model.spec.owner],
        "kinds": kinds,
        "tags": {"mlops/model": model.name},
        "metadata": {"model": model.spec.description or model.name},
        "code_version": model.spec.content_hash()[:12],
    }
    if per_period:
        found["partitions_def"] = partitions(model.calendar)
        found["backfill_policy"] = dg.BackfillPolicy.single_run()
    return found


def key(model: Model, name: str) -> dg.AssetKey:
    """The key of one of the model's assets."""
    return dg.AssetKey([model.name, name])


def tell(
    context: dg.AssetExecutionContext, periods: Sequence[str], group: Collection[str], rows: int
) -> None:
    """Log how far a run over several periods has come, after a group of them with `rows` rows."""
    if len(periods) > 1:
        last = list(group)[-1]
        done = periods.index(last) + 1
        context.log.info(f"{done} of {len(periods)} periods, up to {last} (+{rows:,} rows)")


def materialized(
    context: dg.AssetExecutionContext,
    versions: Mapping[str, str],
    metadata: Mapping[str, Mapping[str, Any]],
    tags: Mapping[str, Mapping[str, str]] | None = None,
) -> Any:
    """Events for the periods of this run: metadata, data versions and tags, each by period.

    A run over one period gives one event. A run over a range gives the range's event, and then
    one per period, because only those carry each period's own facts. A period without a version
    gets one from Dagster.
    """
    periods, tags = list(metadata), tags or {}
    if len(periods) == 1:
        only = periods[0]
        version = versions.get(only)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(version) if version else None,
            metadata=metadata[only],
            tags=tags.get(only),
        )
        return
    yield dg.MaterializeResult(metadata={"periods": len(periods)})
    step = context.op_execution_context.get_step_execution_context()
    batch = str(uuid4())
    for place, period in enumerate(periods):
        own = dict(tags.get(period, {}))
        if period in versions:
            own["dagster/data_version"] = versions[period]
            own["dagster/data_version_is_user_provided"] = "true"
        event = dg.AssetMaterialization(
            asset_key=context.asset_key, partition=period, metadata=metadata[period], tags=own
        )
        # As Dagster itself does with the events of a range: many of them are stored at once.
        together = DagsterEventBatchMetadata(batch, is_end=place == len(periods) - 1)
        yield DagsterEvent.asset_materialization(step, event, together)
