"""Which closed periods have labels by now that their reports were not made of."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from mlops_assets.domain.restatement import KEYS, label_changes
from mlops_assets.spec import Model
from mlops_assets.stores import sources
from mlops_assets.stores.lake import Lake, content_hash
from mlops_assets.stores.monitoring import ground_truth_of, known_labels
from mlops_assets.stores.tables import to_frame


def changed_labels(
    model: Model, lake: Lake, periods: Sequence[str], now: datetime
) -> dict[str, tuple[str, str]]:
    """For each period whose labels differ: a hash of what they are now, and what differs.

    Reads the label's columns from the source, and writes nothing.
    """
    spec = model.spec
    names = dict.fromkeys(
        name
        for name in (spec.entity, spec.event_time, spec.label.column, spec.label.known_at)
        if name
    )
    found = {}
    for period in periods:
        bounds = model.calendar.bounds(period)
        rows = sources.read(
            spec.source,
            model.folder,
            columns=tuple(names),
            event_time=spec.event_time,
            start=bounds.start,
            end=bounds.end,
        )
        labels = known_labels(model, to_frame(rows), now)
        changes = label_changes(ground_truth_of(model, lake, period), labels)
        if changes:
            table = pa.Table.from_pandas(labels.sort_values(KEYS), preserve_index=False)
            text = ", ".join(
                f"{count} {name}"
                for name, count in (
                    ("came", changes.came),
                    ("changed", changes.changed),
                    ("withdrawn", changes.withdrawn),
                )
                if count
            )
            found[period] = (content_hash(table)[:16], text)
    return found
