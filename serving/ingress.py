"""Where a replica's HTTP requests enter: ours directly, Ray's own through Ray.

Ray wraps each request in two tasks, a context and a dozen metrics, which take longer than the
prediction itself. None of it is of use here: a request that was received is answered at once, and
what is counted, `serving.stats` counts. So this application stands in front of Ray's in the same
server of the same replica; placing, restarting, draining and health checks stay with Ray.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from serving.answers import Answer, Refusal
from serving.http import MAX_BODY_BYTES, PredictionService, body_too_large
from serving.pages import OPEN_PATHS

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# Paths of Ray's own, health checks among them.
RAY_PREFIX = "/-/"
# A client that sends its body this slowly only holds a connection.
BODY_SECONDS = 15.0
# The long bodies that one replica holds at once, arriving and waiting.
MAX_HELD_BYTES = 16 * MAX_BODY_BYTES
# HAProxy keeps connections to replicas open between requests of different clients.
KEEP_ALIVE_SECONDS = 90
BACKLOG = 2048


class Ingress:
    """An ASGI application: `service` answers, but for what belongs to Ray."""

    def __init__(self, service: PredictionService, ray: Application) -> None:
        self._service = service
        self._ray = ray
        self._room = Room(MAX_HELD_BYTES)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or path.startswith(RAY_PREFIX):
            return await self._ray(scope, receive, send)
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            body, method = message.get("body", b""), scope["method"]
            # What anybody may ask has no body, so the rest of it is not waited for.
            if message.get("more_body") and path not in OPEN_PATHS:
                answer = await self._long(method, path, headers, body, receive)
            else:
                answer = await self._service.answer(method, path, headers, body)
        except Refusal as refusal:
            answer = self._service.refused(path, refusal)
        except TimeoutError:
            late = Refusal(408, "body", "did not arrive in time", connection="close")
            answer = self._service.refused(path, late)
        except ConnectionError:
            return None
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": raw_headers(answer)}
        )
        await send({"type": "http.response.body", "body": answer.body})
        return None

    async def _long(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, receive: Receive
    ) -> Answer:
        """Answer a request of which `body` is the first part."""
        # Nobody unknown may fill the memory.
        self._service.authorise(path, headers)
        with self._room.taken() as take:
            async with asyncio.timeout(BODY_SECONDS):
                body = await read_rest(body, receive, take)
            return await self._service.answer(method, path, headers, body)


class Room:
    """Memory for long bodies, which arrive and wait for their turn."""

    def __init__(self, size: int) -> None:
        self._free = size

    @contextmanager
    def taken(self) -> Iterator[Callable[[int], None]]:
        """What takes room for one body, part by part, until it is answered.

        It raises Refusal (503) where there is none.
        """
        held = 0

        def take(size: int) -> None:
            nonlocal held
            held += size
            self._free -= size
            if self._free < 0:
                message = "too many long requests at once: try again"
                raise Refusal(503, "server", message, retry_after="1", connection="close")

        try:
            yield take
        finally:
            self._free += held


async def read_rest(
    body: bytes, receive: Receive, take: Callable[[int], None] = lambda size: None
) -> bytes:
    """The whole body; `take` is told the size of each part, and may refuse it.

    Raises Refusal above MAX_BODY_BYTES, ConnectionError if the client left.
    """
    chunks = [body]
    size = len(body)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        chunks.append(message.get("body", b""))
        take(len(chunks[-1]))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise body_too_large()
        if not message.get("more_body"):
            return b"".join(chunks)


def raw_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The headers as ASGI wants them."""
    named = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    return [*named, (b"content-length", str(len(answer.body)).encode())]


def install(service: PredictionService) -> Callable[[], int | None]:
    """Have this replica start its HTTP server with an Ingress in front of Ray's application.

    Ray would also put middlewares around it that copy every request's headers several times.
    Returns what tells how many requests are under way, which Ray does not see: None before there
    is a server of ours.
    """
    from ray.serve._private import http_util, replica

    servers: list[Any] = []

    async def start(
        app: Application,
        http_options: Any,
        *,
        event_loop: asyncio.AbstractEventLoop,
        enable_so_reuseport: bool = False,
    ) -> tuple["asyncio.Task[None]", Any]:
        rays = http_util._apply_middlewares(app, http_options.middlewares)
        task, server = start_server(
            Ingress(service, rays), http_options.host, http_options.port, event_loop
        )
        servers.append(server)
        return task, server

    def under_way() -> int | None:
        # Also those that were received and wait for their turn in the event loop.
        return sum(len(one.server_state.tasks) for one in servers) if servers else None

    replica.start_asgi_http_server = start
    return under_way


def start_server(
    app: Application, host: str, port: int, event_loop: asyncio.AbstractEventLoop
) -> tuple["asyncio.Task[None]", Any]:
    """A uvicorn server on the event loop, with nothing between its parser and `app`.

    Raises RuntimeError, caused by the OSError, when the address is taken: Ray then tries the next.
    """
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Protocol(HttpToolsProtocol):
        """Hands a part of a body on as it came; uvicorn copies each twice to collect small ones."""

        def on_body(self, body: bytes) -> None:
            cycle: Any = self.cycle
            if not cycle.body:
                cycle.body, body = body, b""
            elif isinstance(cycle.body, bytes):
                # Parts that come faster than they are taken; they may be many, and of a byte each.
                cycle.body = bytearray(cycle.body)
            super().on_body(body)

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
