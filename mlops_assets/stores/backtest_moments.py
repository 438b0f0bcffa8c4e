"""What scouts need of each period of a model's past, made as operation makes it (stores.scouts)."""

import numpy as np

from mlops_assets.domain.features import as_arrays
from mlops_assets.domain.labels import classes_of
from mlops_assets.domain.row_sample import RowSample
from mlops_assets.domain.scout_rows import fit_scout_rows
from mlops_assets.domain.scouts import Moments
from mlops_assets.spec import Model
from mlops_assets.stores.backtest_history import PastRows
from mlops_assets.stores.scouts import MOST_ROWS


def period_moments(model: Model, past: PastRows, oldest: int) -> list[Moments]:
    """Sums of each period's labelled rows; the rules are those of the `oldest` periods."""
    spec = model.spec
    columns = as_arrays(past.frame[list(spec.columns)])
    labels = past.label.to_numpy()
    parts = []
    for period in range(len(past.periods)):
        place = past.place(period, period + 1)
        rows = place.start + np.flatnonzero(past.known[place])
        sample = RowSample(MOST_ROWS, spec.training.seed)
        sample.add(past.keys[rows], {"row": rows})
        parts.append(sample.columns()["row"])
    begun = np.concatenate(parts[:oldest])
    rules = fit_scout_rows(
        spec.task,
        {name: column.type for name, column in spec.columns.items()},
        {name: values[begun] for name, values in columns.items()},
        labels[begun],
        () if spec.task == "regression" else classes_of(past.label.iloc[begun]),
    )
    return [
        rules.moments({name: values[rows] for name, values in columns.items()}, labels[rows])
        for rows in parts
    ]
