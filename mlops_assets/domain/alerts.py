"""Alerts: what someone should know, said once when it begins and once when it ends.

Whatever holds is a signal. Signals are compared with the alerts that are open, so one that holds
for ten ticks is one alert, and one that has gone is resolved. Nothing here holds values of rows.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "failure"]
Event = Literal["opened", "resolved"]
# Longer reasons are cut: a message is to be read at a glance.
REASON_LENGTH = 500


@dataclass(frozen=True)
class Signal:
    """Something that holds now, or has just been over.

    `cause` is what makes two of them the same alert, its part before the colon the kind;
    `occasion` tells one happening of the cause from the next. `over` says how it ended, and is
    empty while it holds. `link` leads to the evidence.
    """

    cause: str
    occasion: str
    severity: Severity
    title: str
    reason: str
    link: str
    over: str = ""

    @property
    def kind(self) -> str:
        """The kind of cause."""
        return self.cause.partition(":")[0]


@dataclass(frozen=True)
class Delivery:
    """What became of a message on a channel: it arrived, or was tried in vain."""

    event: Event
    channel: str
    arrived: bool


@dataclass(frozen=True)
class Alert:
    """One alert, from its beginning to its end; times are ISO 8601 in UTC.

    `loop_time` is what the loop's clock showed when it began; `resolved_at` and `resolution` are
    empty while it is open. `last_occasion` is the one that had come to an end when it ended.
    """

    id: str
    model: str
    cause: str
    occasion: str
    severity: Severity
    title: str
    reason: str
    link: str
    at: str
    loop_time: str
    resolved_at: str = ""
    resolution: str = ""
    last_occasion: str = ""
    deliveries: tuple[Delivery, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return not self.resolved_at

    def has(self, event: Event, channel: str, arrived: bool) -> bool:
        """Whether the channel's message of the event arrived, or was tried in vain."""
        return Delivery(event, channel, arrived) in self.deliveries


@dataclass(frozen=True)
class Resolution:
    """The end of an alert: how, and of which occasion (empty where its signal is just gone)."""

    alert: str
    text: str
    occasion: str = ""


@dataclass(frozen=True)
class Changes:
    """Signals that begin an alert, and alerts that end."""

    opened: tuple[Signal, ...] = ()
    resolved: tuple[Resolution, ...] = ()


def alert_id(model: str, cause: str, number: int) -> str:
    """The id of a model's alert number `number` (from 0) of a cause."""
    return hashlib.sha256(f"{model}\n{cause}\n{number}".encode()).hexdigest()[:12]


def reconcile(
    model: str,
    alerts: Sequence[Alert],
    signals: Iterable[Signal],
    unknown: Collection[str] = (),
) -> Changes:
    """What begins and what ends, given all earlier alerts of a model.

    Kinds in `unknown` were not looked at, so their alerts stay as they are. A signal that is over
    and was never told is told all the same: it begins and ends at once.
    """
    signals = tuple(signals)
    current = {alert.cause: alert for alert in alerts if alert.is_open}
    known = {(one.cause, name) for one in alerts for name in (one.occasion, one.last_occasion)}
    opened: list[Signal] = []
    resolved: list[Resolution] = []
    seen: set[str] = set()
    for signal in signals:
        seen.add(signal.cause)
        open_alert = current.get(signal.cause)
        if open_alert is not None:
            if signal.over:
                resolved.append(Resolution(open_alert.id, signal.over, signal.occasion))
        elif not signal.over:
            opened.append(signal)
        elif (signal.cause, signal.occasion) not in known:
            number = sum(alert.cause == signal.cause for alert in alerts)
            opened.append(signal)
            identity = alert_id(model, signal.cause, number)
            resolved.append(Resolution(identity, signal.over, signal.occasion))
    for alert in current.values():
        if alert.cause not in seen and alert.cause.partition(":")[0] not in unknown:
            resolved.append(Resolution(alert.id, "it does not hold any more"))
    return Changes(tuple(opened), tuple(resolved))


def due(alerts: Iterable[Alert], channel: str) -> list[tuple[Alert, Event]]:
    """The messages that a channel has not got yet, oldest alert first.

    A channel that was set up after an alert had ended is not told of it; one that was tried in
    vain meanwhile is told that it has ended.
    """
    found: list[tuple[Alert, Event]] = []
    for alert in alerts:
        if alert.is_open:
            if not alert.has("opened", channel, arrived=True):
                found.append((alert, "opened"))
            continue
        was_there = any(alert.has("opened", channel, arrived) for arrived in (True, False))
        if was_there and not alert.has("resolved", channel, arrived=True):
            found.append((alert, "resolved"))
    return found


def title_of(alert: Alert, event: Event) -> str:
    """The message's first line."""
    ended = "resolved: " if event == "resolved" else ""
    return f"[{alert.model}] {ended}{alert.title}"


def body_of(alert: Alert, event: Event) -> str:
    """The rest of the message. The id lets a receiver drop what arrives twice."""
    when = _when(alert.at, alert.loop_time)
    lines = [one_line(alert.reason), f"since {when}"]
    if event == "resolved":
        lines = [one_line(alert.resolution), f"began {when}: {one_line(alert.reason)}"]
    return "\n".join([*lines, *([alert.link] if alert.link else []), f"alert {alert.id}, {event}"])


def one_line(text: str) -> str:
    """Text of a report as a message takes it: no control characters, not too long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= REASON_LENGTH else clean[: REASON_LENGTH - 1] + "…"


def _when(at: str, loop_time: str) -> str:
    shown = f"{at[:16].replace('T', ' ')} UTC"
    if loop_time[:10] == at[:10]:
        return shown
    return f"{shown} (loop time {loop_time[:16].replace('T', ' ')})"
