"""Inputs from an entity's past, looked up in the online store where a client leaves them out.

They are computed by the function that training uses, from the events that were published; a
request about a time after the newest publication is answered as of that publication, and counted
as stale.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, HistoryRule
from mlops_assets.domain.entity_history import SECOND, Events, aggregate, period_starts
from mlops_assets.domain.errors import PastFunctionError, RequestError, StoreAwayError
from mlops_assets.domain.requests import ParsedRequest
from mlops_assets.stores.history_functions import HistoryFunctions
from mlops_assets.stores.online import KeyHistory, OnlineStore, Published
from serving.answers import Refusal
from serving.stats import LookUp, Stats

Found = Mapping[tuple[str, str], KeyHistory]


class Histories:
    """Completes requests. Safe to share by threads."""

    def __init__(
        self,
        store: OnlineStore,
        stats: Stats,
        now: Callable[[], float] = time.time,
        models_dir: Path | None = None,
    ) -> None:
        self._store = store
        self._stats = stats
        self._functions = HistoryFunctions(models_dir)
        self._now = now

    @property
    def is_remote(self) -> bool:
        """Whether a look-up goes over the network."""
        return self._store.is_remote

    def complete(self, contract: Contract, request: ParsedRequest) -> ParsedRequest:
        """The request with all inputs.

        Raises RequestError for a row that nothing can be looked up for, and Refusal (503) where
        the store does not answer, or a function is not there or fails, and the contract does not
        want to go on without it.
        """
        rules = [rule for rule in contract.history if rule.name in request.absent]
        if not rules:
            return request
        rows = np.flatnonzero(np.logical_or.reduce([request.absent[r.name] for r in rules]))
        keys = {rule.key: _keys(contract, request, rule.key, rows) for rule in rules}
        wanted = {
            kind: {name for name in names if name is not None} for kind, names in keys.items()
        }
        try:
            published, found = self._store.read(contract.model, wanted)
            if published is None:
                raise StoreAwayError(f"nothing is published of {contract.model}")
            values = self._values(contract, request, rows, rules, keys, published, found)
        except (StoreAwayError, PastFunctionError) as error:
            self._stats.looked_up(contract.model, LookUp(rows=len(rows), failed=len(rows)))
            if contract.store_away == "refuse":
                raise _away(rules, error) from error
            # Absent nullable inputs are read as missing already.
            return replace(request, absent={})
        columns = dict(request.columns)
        for name, column in values.items():
            places = rows[request.absent[name][rows]]
            filled = np.array(columns[name])
            filled[places] = column[request.absent[name][rows]]
            columns[name] = filled
        return replace(request, columns=columns, absent={})

    def health(self, contract: Contract) -> dict[str, Any] | None:
        """What /health tells of a model's history; None for a model that has none."""
        if not contract.history:
            return None
        try:
            published = self._store.published(contract.model)
            for rule in contract.history:
                self._functions.find(contract.model, rule)
        except StoreAwayError:
            return {"problem": "the online store of history does not answer"}
        except PastFunctionError as error:
            return {"problem": str(error)}
        if published is None:
            return {"problem": "no history is published"}
        until = datetime.fromtimestamp(published.until / SECOND, UTC)
        return {
            "published_until": until.isoformat(),
            "age_seconds": round(self._now() - published.until / SECOND, 3),
            "keys": published.keys,
        }

    def _values(
        self,
        contract: Contract,
        request: ParsedRequest,
        rows: np.ndarray,
        rules: Sequence[HistoryRule],
        keys: Mapping[str, list[str | None]],
        published: Published,
        found: Found,
    ) -> dict[str, np.ndarray]:
        """The inputs of these rows by name, and what is counted of it."""
        times = self._times(request, rows)
        starts = period_starts(rules[0].every, times)
        values = {}
        events: dict[str, tuple[Events, np.ndarray]] = {}
        for rule in rules:
            if rule.key not in events:
                own = [each for each in rules if each.key == rule.key]
                events[rule.key] = _events(rule.key, keys[rule.key], found, own)
            # What is known newest stands for what is not there yet: a window as long as ever.
            cutoffs = np.minimum(times if rule.until == "event" else starts, published.until)
            self._refuse_too_old(contract, rule, rows, cutoffs, published)
            log, codes = events[rule.key]
            function = self._functions.find(contract.model, rule)
            values[rule.name] = aggregate(log, rule, codes, cutoffs, times, function)
        unknown = sum(
            any(names[place] is None or (kind, names[place]) not in found
                for kind, names in keys.items())
            for place in range(len(rows))
        )  # fmt: skip
        age = float(times.max() - published.until) / SECOND
        stale = int((starts > published.until).sum())
        counts = LookUp(len(rows), unknown=unknown, stale=stale, age_seconds=age)
        self._stats.looked_up(contract.model, counts)
        return values

    def _times(self, request: ParsedRequest, rows: np.ndarray) -> np.ndarray:
        """The rows' event times in microseconds; now, for those that name none."""
        now = int(self._now() * SECOND)
        told = [request.event_times[row] for row in rows]
        return np.array([now if t is None else _microseconds(t) for t in told], dtype=np.int64)

    def _refuse_too_old(
        self,
        contract: Contract,
        rule: HistoryRule,
        rows: np.ndarray,
        cutoffs: np.ndarray,
        published: Published,
    ) -> None:
        if published.since is None:
            return
        too_old = cutoffs - round(rule.window_seconds * SECOND) < published.since
        if too_old.any():
            raise RequestError(
                f"is longer ago than the online store reaches back for {rule.name}: send "
                f"{', '.join(sorted(contract.looked_up))} with the record",
                f"records[{rows[int(too_old.argmax())]}].{contract.event_time}",
            )


def _keys(
    contract: Contract, request: ParsedRequest, kind: str, rows: np.ndarray
) -> list[str | None]:
    """The key of each row; None where an input is missing."""
    if kind in request.columns:
        texts = request.columns[kind][rows].tolist()
        return [None if text == MISSING_CATEGORY else text for text in texts]
    found = [request.entities[row] for row in rows]
    if None in found:
        names = ", ".join(rule.name for rule in contract.history if rule.key == kind)
        raise RequestError(
            f"is missing; {contract.model} looks up {names} by it: send it, or them",
            f"records[{rows[found.index(None)]}].{kind}",
        )
    return found


def _events(
    kind: str, names: Sequence[str | None], found: Found, rules: Sequence[HistoryRule]
) -> tuple[Events, np.ndarray]:
    """The events of all keys of the rows, and each row's place among the keys."""
    known = [name for name in dict.fromkeys(names) if (kind, name) in found]
    logs = [found[kind, str(name)] for name in known]
    columns = {name for rule in rules for name in rule.reads}
    missing = [name for name in columns if any(name not in log.values for log in logs)]
    if missing:
        raise StoreAwayError(
            f"the history of {kind} was published without {', '.join(missing)}: materialise "
            "online_history"
        )
    none: list[np.ndarray] = [np.empty(0, dtype=np.int64)]
    late = {name for name in columns if any(name in log.known for log in logs)}
    events = Events.of(
        np.repeat(np.arange(len(logs)), [len(log.times) for log in logs]),
        np.concatenate([*none, *(log.times for log in logs)]),
        {name: np.concatenate([*none, *(log.values[name] for log in logs)]) for name in columns},
        {name: np.concatenate([*none, *(log.known[name] for log in logs)]) for name in late},
    )
    places = {name: place for place, name in enumerate(known)}
    return events, np.array([places.get(name, -1) for name in names], dtype=np.int64)


def _microseconds(time: str) -> int:
    moment = datetime.fromisoformat(time)
    return int(moment.replace(microsecond=0).timestamp()) * SECOND + moment.microsecond


def _away(rules: Sequence[HistoryRule], error: Exception) -> Refusal:
    names = ", ".join(rule.name for rule in rules)
    if isinstance(error, PastFunctionError):
        return Refusal(503, "history", f"{error}; until then send {names}")
    message = f"the online store of history does not answer: try again, or send {names}"
    return Refusal(503, "history", message, retry_after="1")
