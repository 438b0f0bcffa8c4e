"""Replicas without Ray, to be killed by the dozen: `python light_replica.py POINTER LOG`.

Each is the same service behind the same HTTP server as in a replica of Ray, in a process of its
own. For each line on standard input one is started, and its process id and port printed. All but
the project's own modules is imported before they part, so that starting one takes milliseconds.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httptools  # noqa: F401
import msgspec  # noqa: F401
import numpy as np  # noqa: F401
import onnxruntime  # noqa: F401
import orjson  # noqa: F401
import uvicorn  # noqa: F401


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing of this is for Ray")


def serve(pointer: Path, log: Path) -> None:
    """Answer until killed."""
    from serving.http import PredictionService
    from serving.ingress import Ingress, start_server
    from serving.models import ModelSet
    from serving.repeats import Repeats

    models = ModelSet(pointer)
    models.refresh()
    repeats = Repeats(log.parent / "answers")
    app = Ingress(PredictionService(models, log, repeats=repeats), nobody)
    loop = asyncio.new_event_loop()
    task, server = start_server(app, "127.0.0.1", 0, loop)

    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        os.write(1, f"{os.getpid()} {port}\n".encode())

    loop.run_until_complete(asyncio.gather(task, tell()))


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        if os.fork() == 0:
            serve(Path(sys.argv[1]), Path(sys.argv[2]))
