"""What is published of a model's past: the events that requests from now on can need."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from mlops_assets.domain.contract import Contract
from mlops_assets.spec import Model
from mlops_assets.spec.history import History
from mlops_assets.stores.bundles import CONTRACT
from mlops_assets.stores.entity_events import KeyedEvents, Past, reach
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.online import KeyHistory, OnlineStore

# Requests about so many periods before the newest published one are answered too.
PERIODS_BACK = 2


@dataclass(frozen=True)
class Publication:
    """What was published: all events before `until`; `due` is up to when periods were over."""

    until: datetime
    due: datetime
    keys: int
    events: int

    @property
    def is_fresh(self) -> bool:
        """Whether every period that is over is in it."""
        return self.until >= self.due


def with_rules_of_versions(model: Model, lake: Lake, bundles: Path) -> Model:
    """The model, with the rules that versions in the bundle cache were trained with besides.

    A version serves on after `history` was changed, and asks for what its contract names. Rules on
    columns that valid rows never had are left out.
    """
    known = {(rule.key, rule.reads, rule.window_seconds) for rule in model.spec.history_rules}
    held = lake.schema(model.name, "validated_data")
    more = []
    for path in sorted((bundles / model.name).glob(f"[0-9]*/{CONTRACT}")):
        for rule in Contract.from_json(path.read_bytes()).history:
            about = (rule.key, rule.reads, rule.window_seconds)
            if about not in known and {rule.key, *rule.reads} <= held.keys():
                known.add(about)
                more.append(History.of(rule))
    spec = model.spec.model_copy(update={"history": (*model.spec.history, *more)})
    return replace(model, spec=spec)


def publish(
    model: Model, lake: Lake, store: OnlineStore, ready: Collection[str], now: datetime
) -> Publication | None:
    """Publish the events of the `ready` periods that are over at `now`; None if none is.

    Only those that windows reach are read and published, and two periods more for late requests.
    """
    closed = model.calendar.closed(now)
    over = [period for period in closed if period in ready]
    if not over:
        return None
    bounds = model.calendar.bounds
    newest = bounds(over[-1])
    start = bounds(over[-PERIODS_BACK:][0]).start - reach(model)
    past = Past(model, lake).between(start, newest.end)
    published = store.publish(
        model.name,
        _histories(past),
        since=None if start <= model.calendar.first else int(start.timestamp() * 1_000_000),
        until=int(newest.end.timestamp() * 1_000_000),
    )
    return Publication(
        until=newest.end,
        due=bounds(closed[-1]).end,
        keys=published.keys,
        events=sum(len(known.events.times) for known in past.values()),
    )


def _histories(past: Mapping[str, KeyedEvents]) -> Iterator[tuple[str, str, KeyHistory]]:
    for kind, known in past.items():
        events = known.events
        edges = np.searchsorted(events.codes, np.arange(len(known.keys) + 1))
        for code, name in enumerate(known.keys):
            rows = slice(edges[code], edges[code + 1])
            yield (
                kind,
                str(name),
                KeyHistory(
                    events.times[rows],
                    {column: values[rows] for column, values in events.values.items()},
                    {column: times[rows] for column, times in events.known.items()},
                ),
            )
