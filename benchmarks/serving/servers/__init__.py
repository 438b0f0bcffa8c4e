"""Every server by name, in the order in which they are measured."""

from collections.abc import Mapping

from benchmarks.serving.servers.base import Server
from benchmarks.serving.servers.bentoml_server import BentoMl
from benchmarks.serving.servers.fastapi_server import FastApi
from benchmarks.serving.servers.limit_server import Limit
from benchmarks.serving.servers.litserve_server import LitServe
from benchmarks.serving.servers.mlflow_server import Mlflow
from benchmarks.serving.servers.mlserver_server import MlServer
from benchmarks.serving.servers.our_server import Ours

SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        FastApi(),
        Mlflow("mlflow", workers=1),
        Mlflow("mlflow2", workers=2),
        MlServer(),
        BentoMl(),
        LitServe(),
        Limit("limit", workers=1),
        Limit("limit2", workers=2),
        Ours(),
    )
}
# Two workers of mlflow answer a question of their own, and only on request.
DEFAULT = tuple(name for name in SERVERS if name != "mlflow2")

__all__ = ["DEFAULT", "SERVERS", "Server"]
