"""Batches on a Ray cluster: parts are dealt out to actors of Ray Data, one bundle in each.

Parts are read and written by the actors themselves, so rows never travel through Ray, and the
input and output folders must be the same on all nodes. The bundle does travel: a node needs no way
to the registry.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.domain.errors import ServiceError
from mlops_assets.stores.batch_input import BatchInput, Part
from mlops_assets.stores.batch_output import PartDone
from mlops_assets.stores.batch_scoring import load_batch_scorer

if TYPE_CHECKING:
    from mlops_assets.stores.batch_run import BatchPlan, Tell

LOCAL = "local"
# Ray Data's own tasks need CPUs too: actors that claim all of them starve the tasks that feed
# them, and nothing ever ends.
CPUS_PER_ACTOR = 0.5


def run_on_ray(
    plan: "BatchPlan", source: BatchInput, parts: Sequence[Part], address: str, tell: "Tell"
) -> Iterator[PartDone]:
    """Score and write `parts` on the cluster at `address`; `local` starts one on this machine.

    Raises ServiceError when there is no cluster at the address.
    """
    import ray
    import ray.data

    connect(address)
    try:
        files = {path.name: path.read_bytes() for path in plan.bundle.iterdir()}
        actors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        dealt = ray.data.from_items(
            [{"place": place} for place in range(len(parts))], override_num_blocks=len(parts)
        ).map_batches(
            _PartScorer,
            fn_constructor_args=(ray.put(files), plan, source.schema, tuple(parts)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(parts))),
            num_cpus=CPUS_PER_ACTOR,
        )
        for row in dealt.iter_rows():
            done = PartDone(**json.loads(row["done"]))
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

    def __init__(self, files: Any, plan: "BatchPlan", schema: Any, parts: tuple[Part, ...]) -> None:
        import ray

        self._home = tempfile.TemporaryDirectory(prefix="mlops-batch-")
        bundle = Path(self._home.name)
        for name, content in ray.get(files).items():
            (bundle / name).write_bytes(content)
        self._plan = replace(plan, bundle=bundle)
        self._scorer = load_batch_scorer(bundle, plan.version, plan.engine)
        self._schema, self._parts = schema, parts

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from mlops_assets.stores.batch_run import score_parts

        parts = [self._parts[int(place)] for place in batch["place"]]
        done = score_parts(self._plan, self._scorer, self._schema, parts, 1, lambda rows: None)
        return {"done": [json.dumps(asdict(each)) for each in done]}
