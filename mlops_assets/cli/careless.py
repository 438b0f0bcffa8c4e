"""A release as it should not be made, for the demo: past every gate, and broken.

It does what a person can do by hand in the MLflow UI: registers a version and moves the champion
alias to it. The version answers most rows, and fails on the others.
"""

import shutil
import tempfile
import time
from pathlib import Path

from mlops_assets.cli.live_loop import LiveLoop
from mlops_assets.cli.loops import Sent
from mlops_assets.domain.errors import ServiceError
from mlops_assets.domain.timeline import PeriodRow
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores.bundles import MANIFEST, ONNX_MODEL, write_manifest
from mlops_assets.stores.incidents import Incident, Incidents
from mlops_assets.stores.registry import BUNDLE, CHAMPION, Registry
from mlops_assets.stores.traffic import requests

# Flights longer than this get outputs that are no number.
COLUMN, ABOVE = "distance", 1000.0
AT_ONCE = 40
PAUSE_SECONDS = 0.1
GIVE_UP_SECONDS = 60.0


def careless_release(stores: Stores, model: Model, loop: LiveLoop, period: str) -> PeriodRow:
    """Release a broken version by hand and send the period's requests until it is taken back.

    Returns the story as a row: the decision is the guard's, and `swap_seconds` the time from the
    alias move until the version before it answers alone again. Raises ServiceError when nobody
    takes it back.
    """
    registry = stores.registry
    sound = registry.alias(model.name, CHAMPION)
    if sound is None:
        raise ServiceError(f"{model.name} has no champion to be careless with")
    broken = register_broken(registry, model.name, sound.version, stores.bundles)
    traffic = requests(model, period)
    registry.set_alias(model.name, CHAMPION, broken)
    moved = time.monotonic()
    sent = Sent()
    while True:
        first = sent.requests % len(traffic)
        sent.join(loop.send(traffic[first : first + AT_ONCE]))
        seconds = time.monotonic() - moved
        incident = _incident(stores, model.name, broken)
        if incident is not None and loop.served_version() == sound.version:
            break
        if seconds > GIVE_UP_SECONDS:
            raise ServiceError(f"nobody took the broken version {broken} of {model.name} back")
        time.sleep(PAUSE_SECONDS)
    return PeriodRow(
        period=period,
        requests=sent.requests,
        failed=sent.failed,
        version=sound.version,
        loss_live=None,
        loss_first=None,
        flagged=(),
        action="rollback",
        reason=f"version {broken}, released by hand past the gates: {incident.reasons}; "
        f"version {sound.version} serves again after {seconds:.1f} s",
        swap_seconds=seconds,
        served=sent.served,
    )


def register_broken(registry: Registry, model: str, version: str, cache: Path) -> str:
    """Register a copy of a version whose outputs are no number on some rows; returns its number."""
    source = registry.cached_bundle(model, version, cache)
    run = registry.client.get_run(registry.version(model, version).run_id)
    with tempfile.TemporaryDirectory(prefix="mlops-careless-") as scratch:
        folder = Path(scratch) / "bundle"
        shutil.copytree(source, folder)
        (folder / MANIFEST).unlink()
        (folder / ONNX_MODEL).write_bytes(spoiled((folder / ONNX_MODEL).read_bytes()))
        write_manifest(folder, "onnx", {})
        copy = registry.client.create_run(run.info.experiment_id, run_name="careless").info.run_id
        registry.client.log_artifacts(copy, str(folder), BUNDLE)
        registry.client.set_terminated(copy)
    made = registry.client.create_model_version(
        model,
        source=f"runs:/{copy}/{BUNDLE}",
        run_id=copy,
        description="Broken on purpose: the demo shows how it is taken back.",
    )
    return str(made.version)


def spoiled(graph: bytes, column: str = COLUMN, above: float = ABOVE) -> bytes:
    """The ONNX model with NaN for every output of the rows whose `column` is above the value."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    output = next(o.name for o in model.graph.output if o.name in ("probabilities", "variable"))
    for node in model.graph.node:
        names = [f"{name}_sound" if name == output else name for name in node.output]
        del node.output[:]
        node.output.extend(names)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(above, dtype=np.float64), "careless_limit"),
            numpy_helper.from_array(np.array(np.nan, dtype=np.float32), "careless_nan"),
        ]
    )
    model.graph.node.extend(
        [
            helper.make_node("Greater", [column, "careless_limit"], ["careless_rows"]),
            # Probabilities are float or double, as the estimator has it.
            helper.make_node("CastLike", ["careless_nan", f"{output}_sound"], ["careless_fault"]),
            helper.make_node(
                "Where", ["careless_rows", "careless_fault", f"{output}_sound"], [output]
            ),
        ]
    )
    spoilt: bytes = model.SerializeToString()
    return spoilt


def _incident(stores: Stores, model: str, version: str) -> Incident | None:
    found = [one for one in Incidents(stores.lake).of(model) if one.version == version]
    return found[-1] if found else None
