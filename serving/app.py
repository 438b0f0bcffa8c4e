"""The Ray Serve application: one deployment that hands raw requests to PredictionService.

There is no web framework in between, and nothing here imports an orchestrator, a registry client,
pandas or scikit-learn: a replica starts fast, stays small and answers in its own event loop.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.settings import Settings
from mlops_assets.stores.online import OnlineStore
from mlops_assets.stores.ports import LOOPBACK
from serving import memory
from serving.answers import Refusal
from serving.auth import Tokens
from serving.http import PredictionService
from serving.ingress import install, read_rest
from serving.models import ModelSet
from serving.repeats import Repeats
from serving.stats import Stats

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

# Ray's default of 5 collapses throughput long before the CPU is busy.
MAX_ONGOING_REQUESTS = 200


class Replica:
    """One serving process: the models it holds and the HTTP requests it answers."""

    def __init__(
        self,
        pointer: str,
        prediction_log: str,
        stats: str,
        token_file: str,
        online: str,
        models_dir: str,
        answers: str,
    ) -> None:
        from starlette.responses import Response

        keep_to_loopback()
        memory.collect_rarely()
        self._response = Response
        counts = Stats(Path(stats))
        counts.start()
        self._models = ModelSet(Path(pointer), counts.swapped)
        self._models.start()
        tokens = Tokens(Path(token_file) if token_file else None)
        self._service = PredictionService(
            self._models,
            Path(prediction_log),
            tokens,
            counts,
            OnlineStore(online),
            Path(models_dir),
            Repeats(Path(answers)),
        )
        self._under_way = install(self._service)

    async def __call__(self, request: "Request") -> "Response":
        """Answer one request that came through Ray's own proxy, where there is no HAProxy."""
        try:
            # Ray has read the body already, so there is no first part to start from.
            body = await read_rest(b"", request.receive)
            answer = await self._service.answer(
                request.method, request.url.path, request.headers, body
            )
        except Refusal as refusal:
            answer = self._service.refused(request.url.path, refusal)
        return self._response(answer.body, answer.status, answer.headers)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Requests under way, for Ray's autoscaling: under the name of its own count of them.

        Where Ray's own proxy hands requests over, there is nothing to add to that count.
        """
        from ray.serve._private.common import RUNNING_REQUESTS_KEY

        number = self._under_way()
        return {} if number is None else {RUNNING_REQUESTS_KEY: float(number)}


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
        str(settings.serving_state),
        str(settings.prediction_log),
        str(settings.serving_stats),
        str(settings.serve_token_file or ""),
        settings.online_store,
        str(settings.models_dir),
        str(settings.serving_answers),
    )
