"""Predictions of whole periods, without a request: batch_predictions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.options import key, materialized, options
from mlops_assets.resources import Stores
from mlops_assets.spec import Model

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.stores.bundles import Scorer

TABLE = "batch_predictions"


def batch_predictions(model: Model) -> dg.AssetsDefinition:
    """The asset of the champion's predictions for all rows of a period."""

    @dg.asset(
        **options(model, TABLE, group="batch", kinds={"deltalake", "onnx"}, per_period=True),
        description="What the champion predicts for every row of a period, scored with the same "
        "bundle that serves, and with its version. Made when it is asked for: no job of the loop "
        "needs it, and the reports are about what was really answered.",
        deps=[key(model, "features")],
    )
    def _batch_predictions(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.domain.errors import DataError
        from mlops_assets.stores.bundles import load_scorer
        from mlops_assets.stores.registry import CHAMPION

        champion = stores.registry.alias(model.name, CHAMPION)
        if champion is None:
            raise dg.Failure(f"{model.name} has no champion: materialise one first.")
        folder = stores.registry.cached_bundle(model.name, champion.version, stores.bundles)
        scorer = load_scorer(folder)
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        for period in context.partition_keys:
            rows = stores.lake.read(model.name, "features", periods=[period])
            try:
                predicted = predictions_of(scorer, champion.version, rows)
            except DataError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            written = stores.lake.write_period(model.name, TABLE, period, predicted)
            versions[period] = written.content_hash
            metadata[period] = {
                "dagster/row_count": written.rows,
                "version": champion.version,
                "content_hash": written.content_hash,
                "changed": written.changed,
            }
        yield from materialized(context, versions, metadata)

    return _batch_predictions


def predictions_of(scorer: "Scorer", version: str, rows: "pa.Table") -> "pa.Table":
    """Entity, event time, prediction and version of feature rows, in their order.

    A classification has a label and `probability_<class>` columns; a regression has a number.
    Raises DataError when the rows lack a column of the version.
    """
    import numpy as np
    import pyarrow as pa

    from mlops_assets.domain.errors import DataError
    from mlops_assets.domain.features import as_arrays, model_frame
    from mlops_assets.stores.tables import to_frame

    contract = scorer.contract
    missing = [c.name for c in contract.columns if c.name not in rows.column_names]
    if missing:
        raise DataError(
            f"{contract.model} version {version} takes {missing[0]!r}, which the features do not "
            "have (any more): train a version on the columns of today's defs.yaml."
        )
    frame = model_frame(to_frame(rows), contract.columns)
    width = max(1, len(contract.classes))
    outputs = scorer.score(as_arrays(frame)) if len(frame) else np.empty((0, width))
    found = {name: rows[name] for name in ("entity", "event_time")}
    if contract.classes:
        names = np.array(contract.classes, dtype=object)
        found["prediction"] = pa.array(names[outputs.argmax(axis=1)], pa.string())
        for place, name in enumerate(contract.classes):
            found[f"probability_{name}"] = pa.array(np.ascontiguousarray(outputs[:, place]))
    else:
        found["prediction"] = pa.array(outputs[:, 0])
    return pa.table({**found, "version": pa.array([version] * len(frame), pa.string())})
