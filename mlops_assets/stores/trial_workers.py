"""Where trials run: in this process, in processes beside it, or on a Ray cluster.

Whoever runs them, results come back in the order of the tasks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
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
    import ray

    was_connected = ray.is_initialized()
    connect(address)
    try:
        yield partial(_dealt, parallel)
    finally:
        if not was_connected:
            ray.shutdown()


def _dealt(
    parallel: int, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """Tasks, not a pool of actors as joblib's Ray backend has.

    They wait where the cluster has fewer CPUs than that, and the cluster's workers keep what they
    have imported from one call to the next.
    """
    import ray

    remote = ray.remote(function)
    results: list[Any] = [None] * len(tasks)
    places: dict[Any, int] = {}
    try:
        for place, task in enumerate(tasks):
            if len(places) == parallel:
                (done,), _ = ray.wait(list(places))
                results[places.pop(done)] = ray.get(done)
            places[remote.remote(*task)] = place
        for reference, place in places.items():
            results[place] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        # What the function raised, without the traceback of another process in its text.
        raise error.cause from error
    return results
