"""Batches on a Ray cluster: parts are dealt out to actors, one bundle in each.

Parts are read and written by the actors themselves, so rows never travel through Ray, and the
input and output folders must be the same on all nodes. The bundle does travel: a node needs no way
to the registry.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.domain.errors import ServiceError
from mlops_assets.stores.batch_input import BatchInput, Part
from mlops_assets.stores.batch_output import PartDone
from mlops_assets.stores.batch_scoring import load_batch_scorer

if TYPE_CHECKING:
    from mlops_assets.stores.batch_run import BatchPlan, Tell

LOCAL = "local"
# How often an actor that was lost is started again, and a part tried again.
RESTARTS = 3


def run_on_ray(
    plan: "BatchPlan", source: BatchInput, parts: Sequence[Part], address: str, tell: "Tell"
) -> Iterator[PartDone]:
    """Score and write `parts` on the cluster at `address`; `local` starts one on this machine.

    Raises ServiceError when there is no cluster at the address.
    """
    import ray
    from ray.util import ActorPool

    connect(address)
    try:
        files = {path.name: path.read_bytes() for path in plan.bundle.iterdir()}
        # In a list, so that Ray hands on the reference: each actor reads it once.
        shared = [ray.put((files, plan, source.schema, tuple(parts)))]
        # Of the free CPUs only: an actor that finds no place would keep its part for ever.
        free = int(ray.available_resources().get("CPU", 0))
        actors = min(max(1, free), len(parts))
        # A part that a lost actor had begun is made again by the one that takes its place.
        scorer = ray.remote(num_cpus=1, max_restarts=RESTARTS, max_task_retries=RESTARTS)(
            _PartScorer
        )
        pool = ActorPool([scorer.remote() for _ in range(actors)])
        for done in pool.map_unordered(
            lambda actor, place: actor.score.remote(shared, place), range(len(parts))
        ):
            tell(done.rows + done.rejected)
            yield done
    finally:
        ray.shutdown()


def connect(address: str) -> None:
    """Connect this process, unless it is; ServiceError when there is no cluster."""
    import ray

    if ray.is_initialized():
        return
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ServiceError(
            f"there is no Ray cluster at MLOPS_RAY_ADDRESS={address} that lets us in: {error}. "
            "Correct it, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if the cluster asks for a "
            "token, or unset it to do without a cluster."
        ) from error


class _PartScorer:
    """An actor: loads the bundle once, and scores the parts that it is dealt."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="mlops-batch-")
        self._loaded: tuple[Any, ...] = ()

    def score(self, shared: Sequence[Any], place: int) -> PartDone:
        """Score and write a part. What all parts share is loaded with the first one, as an actor
        that was started again begins anew.
        """
        from mlops_assets.stores.batch_run import score_parts

        self._loaded = self._loaded or self._load(shared)
        plan, scorer, schema, parts = self._loaded
        (done,) = score_parts(plan, scorer, schema, [parts[place]], 1, lambda rows: None)
        return done

    def _load(self, shared: Sequence[Any]) -> tuple[Any, ...]:
        import ray

        files, plan, schema, parts = ray.get(shared[0])
        bundle = Path(self._home.name)
        for name, content in files.items():
            (bundle / name).write_bytes(content)
        scorer = load_batch_scorer(bundle, plan.version, plan.engine)
        return replace(plan, bundle=bundle), scorer, schema, parts
