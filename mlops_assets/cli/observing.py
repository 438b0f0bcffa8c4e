"""Shows in Dagster's UI what a command did to a model."""

from collections.abc import Mapping
from typing import Any

from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings


def observe(
    settings: Settings, model: str, asset: str, text: str, metadata: Mapping[str, Any], *, done: str
) -> None:
    """Put an observation on a model's asset.

    Raises ServiceError, which begins with what is `done`, if Dagster's storage cannot be used.
    """
    import dagster as dg
    from sqlalchemy.exc import SQLAlchemyError

    event = dg.AssetObservation(
        dg.AssetKey([model, asset]), description=text, metadata=dict(metadata)
    )
    try:
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            instance.report_runless_asset_event(event)
    except (dg.DagsterError, SQLAlchemyError) as error:
        raise ServiceError(
            f"{done}; only the event for the Dagster UI could not be written "
            f"({str(error).splitlines()[0]})."
        ) from error
