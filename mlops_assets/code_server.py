"""Dagster's code server, whose runs begin with their libraries imported (ADR 24).

`python -m mlops_assets.code_server` takes the options of `dagster api grpc`. Dagster starts each
run as a process of its own that imports everything anew, which takes longer than most runs work.
Here runs are forked from a process that has imported the libraries below and done nothing else.
The project's own modules and the models are not among them: each run reads those afresh.
"""

import multiprocessing
import sys
from typing import Any

PRELOADED = (
    "dagster._grpc.impl",
    "dagster.components",
    "dagster_mlflow",
    "evidently.presets",
    "evidently.ui.runner",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.sklearn",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna",
    "pandera.pandas",
    "pyarrow.dataset",
    "scipy.optimize",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "skl2onnx",
    "skops.io",
)


def run_context() -> Any:
    """How processes of runs are started: forked from a warm one where forking is safe."""
    if not sys.platform.startswith("linux"):
        # Libraries of macOS may start threads when they are imported.
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def main() -> None:
    """Serve, with the options on the command line, until a signal ends it."""
    from dagster._cli.api import grpc_command
    from dagster._grpc import server

    class WarmServer(server.DagsterApiServer):
        """Starts runs as `run_context` says; Dagster itself has no setting for it."""

        def __init__(self, *positional: Any, **named: Any) -> None:
            super().__init__(*positional, **named)
            self._mp_ctx = run_context()

    server.DagsterApiServer = WarmServer  # type: ignore[misc]
    grpc_command(prog_name="mlops_assets.code_server")


if __name__ == "__main__":
    main()
