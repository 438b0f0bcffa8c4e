"""What a challenger is judged by: its sealed bundle, the champion's losses, and the gates."""

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.assets.card_facts import notes_of
from mlops_assets.domain import gates
from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.errors import BundleError
from mlops_assets.domain.estimation import fit_estimator
from mlops_assets.domain.evaluation import calibration_error, row_losses
from mlops_assets.domain.features import as_arrays
from mlops_assets.domain.gates import GateResult, SliceRule
from mlops_assets.domain.parity import ParityResult, compare
from mlops_assets.domain.profile import build
from mlops_assets.domain.segments import segment_reference
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import tracking
from mlops_assets.stores.bundles import ESTIMATOR, SEGMENTS, load_scorer, write_manifest
from mlops_assets.stores.registry import CHAMPION
from mlops_assets.stores.servable import why_not_compiled
from mlops_assets.stores.training_rows import Rows

EVIDENCE = "evidence.json"
SLOWER = "served by the fitted pipeline through skops, many times slower than through ONNX"
LATENCY_ROUNDS = 50


@dataclass(frozen=True)
class Champion:
    """The champion's losses (n,) on the challenger's holdout; `absent` says why it has none."""

    version: str = ""
    losses: np.ndarray | None = None
    absent: str = gates.NO_CHAMPION


def champion_on(model: Model, stores: Stores, holdout: Rows) -> Champion:
    """What the champion would have lost on the challenger's own holdout."""
    champion = stores.registry.alias(model.name, CHAMPION)
    if champion is None:
        return Champion()
    folder = stores.registry.cached_bundle(model.name, champion.version, stores.bundles)
    scorer = load_scorer(folder)
    known = {_kind(one) for one in model.spec.contract(model.name, ()).columns}
    lacking = [one.name for one in scorer.contract.columns if _kind(one) not in known]
    if lacking:
        # Inputs that the holdout does not have, or holds as another type.
        return Champion(
            champion.version,
            absent=f"not compared: the champion, version {champion.version}, needs "
            f"{', '.join(lacking)}, which defs.yaml no longer has as it was",
        )
    outputs = scorer.score(as_arrays(holdout.frame))
    # A class that the champion does not know costs it the whole loss, as it does when it serves.
    y = holdout.known_to(scorer.contract.classes)
    losses = row_losses(model.spec.task, y, outputs, holdout.weights)
    return Champion(champion.version, losses)


def _kind(column: ContractColumn) -> tuple[object, ...]:
    return column.name, column.type, column.part, column.zone


def seal_bundle(
    folder: Path,
    model: Model,
    contract: Contract,
    pipeline: Any,
    holdout: Rows,
    outputs: np.ndarray,
    evidence: Mapping[str, Any],
) -> tuple[str, ParityResult, str]:
    """Fill and seal the folder; ONNX if the graph follows the pipeline, else skops.

    Returns the runtime, how well it follows, and a warning where it is not ONNX. Raises
    BundleError where neither can serve.
    """
    limits = model.spec.gates.parity
    # Months come and go by themselves: a part of the time is no sign of drift.
    inputs = as_arrays(holdout.frame)
    profile = build(inputs, contract.watched, outputs, contract.classes)
    segments = segment_reference(
        model.spec.task,
        holdout.y,
        outputs,
        inputs,
        contract.watched,
        blocks=holdout.blocks,
        weights=holdout.weights,
    )
    tracking.write_bundle(
        folder,
        files={
            "contract.json": contract.to_json(),
            "reference.json": profile.to_json(),
            SEGMENTS: segments.to_json(),
            ESTIMATOR: fit_estimator(
                model.spec.task, holdout.y, outputs, holdout.weights
            ).to_json(),
            EVIDENCE: json.dumps(evidence, sort_keys=True).encode(),
        },
        pipeline=pipeline,
    )
    graph, refused = why_not_compiled(pipeline, contract)
    if graph:
        (folder / "model.onnx").write_bytes(graph)
        write_manifest(folder, "onnx", {})
        try:
            parity = _parity(folder, holdout, outputs, limits)
            if parity.holds:
                write_manifest(folder, "onnx", asdict(parity))
                return "onnx", parity, ""
            refused = parity.reason
        except (BundleError, RuntimeError, ValueError) as error:
            refused = f"the compiled model does not run: {error}"
    (folder / "model.onnx").unlink(missing_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    write_manifest(folder, "skops", {"onnx": refused[:500]})
    try:
        parity = _parity(folder, holdout, outputs, limits)
    except BundleError as error:
        raise BundleError(f"nothing can serve this model: {refused[:500]}; {error}") from error
    write_manifest(folder, "skops", {**asdict(parity), "onnx": refused[:500]})
    return "skops", parity, f"{SLOWER}: {refused[:500]}"


def _parity(folder: Path, holdout: Rows, outputs: np.ndarray, limits: Any) -> ParityResult:
    served = load_scorer(folder).score(as_arrays(holdout.frame))
    return compare(outputs, served, limits.tolerance, limits.share, limits.max_difference)


def latency_of(folder: Path, holdout: Rows) -> float:
    """Median milliseconds of a one-row prediction through the loaded bundle."""
    scorer = load_scorer(folder)
    times = []
    for place in range(LATENCY_ROUNDS):
        row = as_arrays(holdout.frame.iloc[[place % len(holdout)]])
        started = time.perf_counter()
        scorer.score(row)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def judge(
    model: Model,
    holdout: Rows,
    outputs: np.ndarray,
    losses: np.ndarray,
    found: Mapping[str, float],
    champion: Champion,
    parity: ParityResult,
    latency_ms: float,
) -> tuple[GateResult, ...]:
    """The verdicts of all gates, in the order of the asset's checks."""
    rules, task = model.spec.gates, model.spec.task
    slices = [SliceRule(s.column, s.min_rows, s.max_loss_ratio) for s in rules.slices]
    values = {rule.column: holdout.frame[rule.column].to_numpy() for rule in slices}
    seed = model.spec.training.seed
    error = None
    if task != "regression":
        error = calibration_error(holdout.y, outputs, weights=holdout.weights)
    return (
        gates.minimum_quality(found, {str(name): limit for name, limit in rules.minimum.items()}),
        gates.not_worse_than_champion(
            losses, champion.losses, rules.margin, rules.confidence, seed, champion.absent
        ),
        gates.slices_hold(
            values, losses, champion.losses, slices, rules.confidence, seed, champion.absent
        ),
        gates.calibrated(error, rules.max_calibration_error),
        gates.serves_as_trained(parity, latency_ms, rules.latency_ms),
        gates.documented(notes_of(model.spec).missing, rules.require_card),
    )
