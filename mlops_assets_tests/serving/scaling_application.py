"""Run by test_scaling: the application on a Ray of its own, with replicas by requests under way.

Prints its address once it answers, then how many replicas run, whenever that changes, until
SIGTERM.
"""

import shutil
import signal
import sys
import threading
from types import FrameType
from typing import Any

from mlops_assets.settings import Settings
from mlops_assets.stores.ports import LOOPBACK
from serving import environment, processes

SCALING = {
    "min_replicas": 1,
    "max_replicas": 2,
    "target_ongoing_requests": 4,
    "upscale_delay_s": 1,
    "downscale_delay_s": 600,
    "metrics_interval_s": 0.5,
    "look_back_period_s": 2,
}


def main() -> None:
    stop = threading.Event()
    settings = Settings.load()
    place = environment.choose_place(settings)
    processes.adopt_orphans()
    processes.watch_parent(stop.set)
    try:
        serve_until(stop, settings, place)
    finally:
        processes.kill_descendants()
        shutil.rmtree(place.folder, ignore_errors=True)


def serve_until(stop: threading.Event, settings: Settings, place: environment.Place) -> None:
    environment.apply(environment.ray_environment(place, 2))
    # Ray reads its settings when it is imported.
    import ray
    import ray._private.services
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import application

    ray._private.services.resolve_ip_for_localhost = lambda host: host
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address=LOOPBACK,
        _temp_dir=str(place.folder / "ray"),
    )

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    serve.start(http_options=HTTPOptions(host=LOOPBACK, port=place.port))
    built: Any = application(settings)._bound_deployment
    scaled = built.options(num_replicas=None, autoscaling_config=SCALING)
    serve.run(scaled.bind(*built.init_args), name="mlops", route_prefix="/")
    say(place.url)
    known = 0
    while not stop.wait(0.2):
        states: Any = serve.status().applications["mlops"].deployments["predictor"].replica_states
        if states.get("RUNNING", 0) != known:
            known = states.get("RUNNING", 0)
            say(str(known))
    ray.shutdown()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
