"""Where a replica's HTTP requests enter: ours directly, Ray's own through Ray.

Ray wraps each request in two tasks, a context and a dozen metrics, which take longer than the
prediction itself. None of it is of use here: a request that was received is answered at once, and
what is counted, `serving.stats` counts. So this application stands in front of Ray's in the same
server of the same replica; placing, restarting, draining and health checks stay with Ray.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.answers import Answer, Refusal
from serving.http import MAX_BODY_BYTES, PredictionService, body_too_large

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# Paths of Ray's own, health checks among them.
RAY_PREFIX = "/-/"
# A client that sends its body this slowly only holds a connection.
BODY_SECONDS = 15.0
# HAProxy keeps connections to replicas open between requests of different clients.
KEEP_ALIVE_SECONDS = 90
BACKLOG = 2048


class Ingress:
    """An ASGI application: `service` answers, but for what belongs to Ray."""

    def __init__(self, service: PredictionService, ray: Application) -> None:
        self._service = service
        self._ray = ray

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
            body = message.get("body", b"")
            if message.get("more_body"):
                # Nobody unknown may fill the memory.
                self._service.authorise(path, headers)
                async with asyncio.timeout(BODY_SECONDS):
                    body = await read_rest(body, receive)
            answer = await self._service.answer(scope["method"], path, headers, body)
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


async def read_rest(body: bytes, receive: Receive) -> bytes:
    """The whole body. Raises Refusal above MAX_BODY_BYTES, ConnectionError if the client left."""
    chunks = [body]
    size = len(body)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        chunks.append(message.get("body", b""))
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

    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise RuntimeError(f"{host}:{port} cannot be listened on.") from error
    config = uvicorn.Config(
        app,
        http="httptools",
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
