"""When what serving looks up is published anew although no period wants work.

The jobs that read periods publish at their end, up to what is over by then. If the clock is moved
over periods that were ingested before, as by a replay in a home that has run by the system's time,
nothing is read and what is published would stay that of another time.
"""

import dagster as dg

from mlops_assets.automation.jobs import job_name
from mlops_assets.automation.past_runs import materialized
from mlops_assets.resources import MODEL_TAG, Stores
from mlops_assets.spec import Model


def publication(instance: dg.DagsterInstance, model: Model, stores: Stores) -> dg.RunRequest | None:
    """The run that publishes what is over and ingested; None if the newest publication does.

    One that failed is not asked for again: the next run that reads a period publishes too.
    """
    if not model.spec.history:
        return None
    asset = dg.AssetKey([model.name, "online_history"])
    newest = instance.fetch_materializations(asset, limit=1).records
    closed = model.calendar.closed(stores.clock.now())
    over = materialized(instance, model, "features").intersection(closed)
    if not newest or not over or newest[0].asset_materialization is None:
        return None
    until = model.calendar.bounds(max(over)).end.isoformat()
    published = newest[0].asset_materialization.metadata["published_until"].value
    if published == until:
        return None
    return dg.RunRequest(
        # After each publication another run may be asked for.
        run_key=f"publish:{newest[0].storage_id}:{until}",
        job_name=job_name(model, "publish"),
        tags={
            MODEL_TAG: model.name,
            "mlops/reason": f"published until {published}, ingested and over until {until}",
        },
    )
