"""The Ray Serve application: one deployment that hands raw requests to PredictionService.

There is no web framework in between, and nothing here imports an orchestrator, a registry client,
pandas or scikit-learn: a replica starts fast, stays small and answers in its own event loop.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.settings import Settings
from serving.environment import LOOPBACK
from serving.http import MAX_BODY_BYTES, PredictionService, body_too_large, refuse
from serving.models import ModelSet

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

# Ray's default of 5 collapses throughput long before the CPU is busy.
MAX_ONGOING_REQUESTS = 200


class Replica:
    """One serving process: the models it holds and the HTTP requests it answers."""

    def __init__(self, pointer: str, prediction_log: str, token: str) -> None:
        from starlette.responses import Response

        keep_to_loopback()
        self._response = Response
        self._models = ModelSet(Path(pointer))
        self._models.start()
        self._service = PredictionService(self._models, Path(prediction_log), token)

    async def __call__(self, request: "Request") -> "Response":
        """Answer one HTTP request."""
        body = await read_body(request)
        if body is None:
            answer = body_too_large()
        else:
            try:
                answer = self._service.handle(
                    request.method, request.url.path, request.headers, body
                )
            except UnicodeError:
                answer = refuse(400, "path", "the path is not UTF-8")
        return self._response(answer.body, answer.status, answer.headers)


def keep_to_loopback() -> None:
    """Bind the port through which replicas call each other to this machine only.

    Ray opens it on every interface as soon as the replica is built, whatever the node's address.
    On a cluster other nodes call it, so there it stays as Ray has it.
    """
    from ray.serve._private import replica
    from ray.util import get_node_ip_address

    if get_node_ip_address() != LOOPBACK:
        return
    bind = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: bind(
        server, address.replace("[::]", LOOPBACK)
    )


async def read_body(request: "Request") -> bytes | None:
    """The request's body, or None once it exceeds MAX_BODY_BYTES."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def application(settings: Settings) -> Any:
    """The bound Serve application for these settings."""
    from ray import serve

    deployment = serve.deployment(
        Replica,
        name="predictor",
        num_replicas=settings.serve_replicas,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        graceful_shutdown_timeout_s=2,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=5,
        # One machine runs the whole loop: replicas must be placed whatever else is running.
        ray_actor_options={"num_cpus": 0},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    return deployment.bind(
        str(settings.serving_state), str(settings.prediction_log), settings.serve_token
    )
