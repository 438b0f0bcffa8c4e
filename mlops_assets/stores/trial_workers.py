"""Where trials run: in this process, in processes beside it, or on a Ray cluster.

Whoever runs them, results come back in the order of the tasks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlops_assets.stores.batch_ray import connect

Run = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], list[Any]]


@contextmanager
def workers(parallel: int, ray_address: str = "") -> Iterator[Run]:
    """What calls a function with each of some tasks, at most `parallel` at a time.

    Raises ServiceError when there is no Ray cluster at the address.
    """
    if parallel == 1:
        yield lambda function, tasks: [function(*task) for task in tasks]
    elif ray_address:
        yield from _on_ray(parallel, ray_address)
    else:
        yield from _in_processes(parallel)


def _in_processes(parallel: int) -> Iterator[Run]:
    import joblib
    from joblib.externals.loky import get_reusable_executor

    def run(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
        with joblib.parallel_config(backend="loky", n_jobs=parallel):
            return list(joblib.Parallel()(joblib.delayed(function)(*task) for task in tasks))

    try:
        yield run
    finally:
        # They would wait for more work for minutes.
        get_reusable_executor().shutdown(wait=True)


def _on_ray(parallel: int, address: str) -> Iterator[Run]:
    import joblib
    import ray
    from ray.util.joblib import register_ray

    was_connected = ray.is_initialized()
    connect(address)
    register_ray()

    def run(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
        with joblib.parallel_config(backend="ray", n_jobs=parallel):
            return list(joblib.Parallel()(joblib.delayed(function)(*task) for task in tasks))

    try:
        yield run
    finally:
        if not was_connected:
            ray.shutdown()
