"""A replica's HTTP server: uvicorn, with short ways for what it does most often.

uvicorn checks each header by two regular expressions and sends the head of an answer before its
body: two system calls, and twice HAProxy is woken up for it. An answer of ours is there as a whole,
and so it is sent; parts of a body are handed on as they came.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from serving.answers import WHOLE_ANSWER, Answer

Application = Callable[..., Awaitable[None]]

# HAProxy keeps connections to replicas open between requests of different clients.
KEEP_ALIVE_SECONDS = 90
BACKLOG = 2048


class Cycle(RequestResponseCycle):
    """One request, which can be answered at once."""

    @override
    async def run_asgi(self, app: Any) -> None:
        scope: MutableMapping[str, Any] = self.scope  # type: ignore[assignment]
        scope["extensions"] = {WHOLE_ANSWER: self.answer}
        await super().run_asgi(app)

    async def answer(self, answer: Answer) -> None:
        """Send the whole answer, unless the client has left."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        lines = [STATUS_LINE[answer.status]]
        named = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        for name, value in (*self.default_headers, *named):
            lines += (name, b": ", value, b"\r\n")
        if answer.headers.get("connection") == "close":
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"content-length: %d\r\n\r\n" % len(answer.body))
        head = b"".join(lines)
        self.response_started = self.response_complete = True
        if self.scope["method"] == "HEAD":
            self.transport.write(head)
        else:
            # One system call, and no copy of the body.
            self.transport.writelines((head, answer.body))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Protocol(HttpToolsProtocol):
    """Hands a part of a body on as it came; uvicorn copies each twice to collect small ones."""

    @override
    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if not cycle.body:
            cycle.body, body = body, b""
        elif isinstance(cycle.body, bytes):
            # Parts that come faster than they are taken; they may be many, and of a byte each.
            cycle.body = bytearray(cycle.body)
        super().on_body(body)


def start_server(
    app: Application, host: str, port: int, event_loop: asyncio.AbstractEventLoop
) -> tuple["asyncio.Task[None]", Any]:
    """A uvicorn server on the event loop, with nothing between its parser and `app`.

    Raises RuntimeError, caused by the OSError, when the address is taken: Ray then tries the next.
    """
    # The only way to have uvicorn make cycles of ours.
    httptools_impl.RequestResponseCycle = Cycle  # type: ignore[misc]
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise RuntimeError(f"{host}:{port} cannot be listened on.") from error
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=BACKLOG,
    )
    server = uvicorn.Server(config)
    return event_loop.create_task(server.serve(sockets=[listener])), server
