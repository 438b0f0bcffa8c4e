"""A real web server on the loopback interface: a folder's files, and answers that a test wants."""

import hashlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Site:
    """What is served, and what was asked for.

    `tricks` are used up one by one, before a path's file; `etags` are sent beside dates, or
    neither where `tells` is false. Files that were written this second have no settled date:
    `write` sets it back.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tricks: dict[str, list[Callable[[Handler], None]]] = {}
        self.etags = False
        self.tells = True
        self.url = ""
        self.seen: list[tuple[str, int]] = []
        self.asked: list[dict[str, str]] = []
        self.closing = threading.Event()
        self._age = 10**6

    def write(self, name: str, content: bytes | str) -> str:
        """Put a file there, in place of the one before; its address."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self._age -= 1000
        at = path.stat().st_mtime - self._age
        os.utime(path, (at, at))
        return f"{self.url}/{name}"

    def trick(self, name: str, *answers: "Callable[[Handler], None]") -> str:
        """Answer so, once each; the address."""
        self.tricks.setdefault(f"/{name}", []).extend(answers)
        return f"{self.url}/{name}"

    @property
    def downloads(self) -> int:
        """How often a body was sent."""
        return sum(status == 200 for _, status in self.seen)


class Handler(SimpleHTTPRequestHandler):
    """The standard library's file server, with ETags and tricks."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, site: Site) -> None:
        self.site = site
        super().__init__(*arguments, directory=str(site.folder))

    def do_GET(self) -> None:
        self.site.asked.append(dict(self.headers))
        self.close_connection = True
        waiting = self.site.tricks.get(self.path)
        if waiting:
            waiting.pop(0)(self)
            return
        if self.site.etags and self._etag() and self.headers["If-None-Match"] == self._etag():
            self.send_response(304)
            self.end_headers()
            return
        if not self.site.tells:
            del self.headers["If-Modified-Since"]
        super().do_GET()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send this, with a length unless the headers have one."""
        self.send_response(status)
        told = {"Content-Length": str(len(body))}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in told.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_response(self, code: int, message: str | None = None) -> None:
        self.site.seen.append((self.path, code))
        super().send_response(code, message)

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Last-Modified" and not self.site.tells:
            return
        super().send_header(keyword, value)
        if keyword == "Last-Modified" and self.site.etags:
            super().send_header("ETag", self._etag())

    def _etag(self) -> str:
        path = Path(self.translate_path(self.path))
        return f'"{hashlib.sha256(path.read_bytes()).hexdigest()}"' if path.is_file() else ""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[Handler], None]:
    """A trick that answers so."""
    return lambda handler: handler.answer(status, body, **headers)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


@contextmanager
def serving(folder: Path, context: ssl.SSLContext | None = None) -> Iterator[Site]:
    """The folder at a free port, until the end of the block; over TLS with a `context`."""
    site = Site(folder)
    server = _Server(("127.0.0.1", 0), partial(Handler, site=site))
    scheme, host = "http", "127.0.0.1"
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        scheme, host = "https", "localhost"
    site.url = f"{scheme}://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
