"""Alerts in the lake: each begins once, ends once, and each message's fate is a row."""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from mlops_assets.domain.alerts import Alert, Changes, Delivery, Event, Signal, alert_id, one_line
from mlops_assets.stores.lake import Lake

TABLE = "alerts"
EVENTS = "alert_events"


@dataclass(frozen=True)
class AlertLog:
    """The alerts of a lake. Every write happens once, however often it is tried."""

    lake: Lake

    def of(self, model: str) -> list[Alert]:
        """All alerts of a model, oldest first."""
        ends: dict[str, dict[str, Any]] = {}
        deliveries: dict[str, list[Delivery]] = defaultdict(list)
        for row in self._rows(model, EVENTS):
            content = json.loads(row["content"])
            if row["kind"] == "resolved":
                ends[row["alert"]] = {"resolved_at": row["at"], **content}
            else:
                deliveries[row["alert"]].append(Delivery(**content))
        found = []
        for row in self._rows(model, TABLE):
            fate = tuple(deliveries[row["id"]])
            found.append(Alert(**row, **ends.get(row["id"], {}), deliveries=fate))
        return sorted(found, key=lambda alert: (alert.at, alert.id))

    def apply(
        self, model: str, alerts: list[Alert], changes: Changes, loop_time: datetime
    ) -> list[Alert]:
        """Write what begins and ends; gives all alerts, as they are now."""
        if not changes.opened and not changes.resolved:
            return alerts
        for signal in changes.opened:
            number = sum(alert.cause == signal.cause for alert in alerts)
            self._open(model, signal, number, loop_time)
        for end in changes.resolved:
            content = {"resolution": one_line(end.text), "last_occasion": end.occasion}
            self._event(model, end.alert, "resolved", content, "resolved")
        return self.of(model)

    def open(self, model: str, signal: Signal, loop_time: datetime) -> bool:
        """Begin an alert, unless one of the same cause is open or the occasion was told."""
        alerts = [alert for alert in self.of(model) if alert.cause == signal.cause]
        if any(alert.is_open or alert.occasion == signal.occasion for alert in alerts):
            return False
        return self._open(model, signal, len(alerts), loop_time)

    def delivered(
        self, model: str, alert: str, event: Event, channel: str, *, arrived: bool
    ) -> bool:
        """Note what became of a message; that it was tried in vain is noted once."""
        content = asdict(Delivery(event, channel, arrived))
        key = f"{event}-{channel}-{'arrived' if arrived else 'failed'}"
        return self._event(model, alert, "delivery", content, key)

    def _open(self, model: str, signal: Signal, number: int, loop_time: datetime) -> bool:
        identity = alert_id(model, signal.cause, number)
        row = {
            "id": identity,
            "model": model,
            "cause": signal.cause,
            "occasion": signal.occasion,
            "severity": signal.severity,
            "title": one_line(signal.title),
            "reason": one_line(signal.reason),
            "link": signal.link,
            "at": datetime.now(UTC).isoformat(),
            "loop_time": loop_time.isoformat(),
        }
        return self._append(model, TABLE, row, f"alert-{identity}")

    def _event(self, model: str, alert: str, kind: str, content: Any, key: str) -> bool:
        at = datetime.now(UTC).isoformat()
        row = {"alert": alert, "kind": kind, "at": at, "content": json.dumps(content)}
        return self._append(model, EVENTS, row, f"alert-{alert}-{key}")

    def _append(self, model: str, table: str, row: dict[str, Any], source: str) -> bool:
        rows = pa.Table.from_pylist([row])
        return self.lake.append_once(model, table, rows, source=source, position=1)

    def _rows(self, model: str, table: str) -> list[dict[str, Any]]:
        if not self.lake.exists(model, table):
            return []
        rows: list[dict[str, Any]] = self.lake.read(model, table).to_pylist()
        return rows
