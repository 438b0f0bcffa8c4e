"""The columns that every table of a model has in common: who, when, and the label."""

import pandas as pd

from mlops_assets.domain.labels import WEIGHT, labels, row_weights
from mlops_assets.spec import Model


def identified(model: Model, rows: pd.DataFrame) -> pd.DataFrame:
    """`entity` (as text), `event_time`, `label` and `label_known_at` of the source's rows.

    Also `row_weight` where the spec names a weight, NaN where it is no number above 0.
    """
    spec = model.spec
    found = labels(
        rows,
        task=spec.task,
        column=spec.label.column,
        above=spec.label.above,
        known_at=spec.label.known_at,
        known_after=spec.label.known_after,
        event_time=spec.event_time,
    )
    found.insert(0, "entity", rows[spec.entity].astype(str))
    found.insert(1, "event_time", rows[spec.event_time])
    if spec.weight:
        found[WEIGHT] = row_weights(rows[spec.weight])
    return found
