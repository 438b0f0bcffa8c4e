"""Many small HTTP requests at a time, over kept connections."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0
LONGEST_IDLE_SECONDS = 5.0


class HttpClient:
    """Posts bodies to one server from `workers` threads, each with a connection of its own."""

    def __init__(self, url: str, token: str, workers: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._workers = workers
        self._local = threading.local()
        self._guard = threading.Lock()
        self._opened: set[http.client.HTTPConnection] = set()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="client")

    def __enter__(self) -> "HttpClient":
        """Connections are opened when they are needed."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the threads and their connections."""
        self._pool.shutdown()
        with self._guard:
            for connection in self._opened:
                connection.close()
            self._opened.clear()

    def post_all(self, path: str, bodies: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """Status and body per request, in order; a connection that breaks counts as status 0."""
        return self._pool.map(lambda body: self._post(path, body), bodies)

    def health(self) -> dict[str, Any]:
        """What GET /health says; empty models while nothing answers."""
        try:
            status, body = self._call("GET", "/health", None)
        except (OSError, http.client.HTTPException):
            self._forget(getattr(self._local, "connection", None))
            return {"models": {}}
        return dict(json.loads(body)) if status == 200 else {"models": {}}

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        # No retry: a request that fails once is a failed request.
        try:
            return self._call("POST", path, body)
        except (OSError, http.client.HTTPException) as error:
            self._forget(getattr(self._local, "connection", None))
            return 0, repr(error).encode()

    def _call(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = getattr(self._local, "connection", None)
        used = getattr(self._local, "used", 0.0)
        if connection is None or time.monotonic() - used > LONGEST_IDLE_SECONDS:
            # Servers close what was idle for long, and a request on it would only find that out.
            self._forget(connection)
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
            self._local.connection = connection
            with self._guard:
                self._opened.add(connection)
        connection.request(method, path, body, self._headers)
        response = connection.getresponse()
        answer = response.status, response.read()
        self._local.used = time.monotonic()
        return answer

    def _forget(self, connection: http.client.HTTPConnection | None) -> None:
        self._local.connection = None
        if connection is not None:
            connection.close()
            with self._guard:
                self._opened.discard(connection)
