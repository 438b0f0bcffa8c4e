"""Where alerts go: the process's own output, and any service that Apprise knows.

Apprise (https://github.com/caronc/apprise) is imported only where a URL is given. A channel is
named by its kind of service and a short hash, because its URL holds credentials.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mlops_assets.domain.alerts import Event, Severity

CONSOLE = "console"
# So long one message may take: the daemon's tick waits for it.
SECONDS = 15.0


class Channel(Protocol):
    """Takes messages."""

    @property
    def name(self) -> str:
        """What people and records call it."""
        ...

    def send(self, title: str, body: str, severity: Severity, event: Event) -> bool:
        """Deliver a message; False if it did not arrive."""
        ...


@dataclass(frozen=True)
class Console:
    """Standard output of this process, and a log beside."""

    log: Callable[[str], object]
    name: str = CONSOLE

    def send(self, title: str, body: str, severity: Severity, event: Event) -> bool:
        """Write the message as one block."""
        text = f"{'RESOLVED' if event == 'resolved' else severity.upper()} {title}\n{body}\n"
        sys.stdout.write(text)
        sys.stdout.flush()
        self.log(text)
        return True


class AppriseChannel:
    """One Apprise URL."""

    def __init__(self, url: str, service: Any) -> None:
        schema = url.partition("://")[0].lower()
        self.name = f"{schema} {hashlib.sha256(url.encode()).hexdigest()[:8]}"
        self._service = service

    def send(self, title: str, body: str, severity: Severity, event: Event) -> bool:
        """Send it once. Apprise answers False for every failure of the service or the network."""
        kind = "success" if event == "resolved" else severity
        arrived = self._service.notify(
            body=body, title=title, notify_type=kind, body_format="text", interpret_escapes=False
        )
        return bool(arrived)


def channels_of(variable: str) -> tuple[list[Channel], tuple[str, ...]]:
    """The channels that an environment variable names, and what is wrong with its entries.

    An entry is told by its place, because its text may hold a secret.
    """
    urls = os.environ.get(variable, "").split()
    if not urls:
        return [], ()
    from apprise import Apprise, AppriseAsset

    # It quotes a URL that it refuses; what becomes of each message is told by whoever sends it.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    asset = AppriseAsset(
        app_id="mlops_assets",
        app_desc="mlops_assets",
        app_url="",
        service_timeout=SECONDS,
        allow_templates=False,
    )
    found: list[Channel] = []
    wrong = []
    for place, url in enumerate(urls, 1):
        service = Apprise(asset=asset)
        if service.add(url):
            found.append(AppriseChannel(url, service))
        else:
            wrong.append(
                f"entry {place} of {len(urls)} in {variable} is no URL that Apprise understands"
            )
    return found, tuple(wrong)
