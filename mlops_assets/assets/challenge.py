"""What the challenger asset does, step by step: search, refit, judge, bundle, register."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.assets.card_facts import gather
from mlops_assets.assets.card_pages import figures_of, first_card
from mlops_assets.assets.judgement import (
    EVIDENCE,
    champion_on,
    judge,
    latency_of,
    seal_bundle,
)
from mlops_assets.assets.search import Searched, search
from mlops_assets.domain.class_quality import ClassQuality, class_quality
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.evaluation import Floats, metrics, pinball_losses, row_losses
from mlops_assets.domain.gates import GateResult, refusals
from mlops_assets.domain.performance import LossReference
from mlops_assets.domain.splits import PARTS, TrainingSet
from mlops_assets.domain.training import Trial, fit, outputs_of
from mlops_assets.reports import plots
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores import tracking, training_rows
from mlops_assets.stores.registry import GATES_TAG, REFUSED_TAG, WARNING_TAG
from mlops_assets.stores.training_rows import Rows


@dataclass(frozen=True)
class Challenger:
    """A registered version with everything it was judged by."""

    version: str
    winner: Trial
    rows: Mapping[str, int]
    metrics: dict[str, float]
    classes: tuple[ClassQuality, ...]
    gates: tuple[GateResult, ...]
    runtime: str
    warning: str
    judged_against: str
    searched: Searched
    pictures: Mapping[str, bytes]

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True)
class _Fitted:
    """The refitted winner of the search, and what it says of the holdout."""

    model: Model
    manifest: TrainingSet
    contract: Contract
    searched: Searched
    refit: Rows
    holdout: Rows
    pipeline: Any
    outputs: np.ndarray
    losses: Floats
    metrics: dict[str, float]
    classes: tuple[ClassQuality, ...]
    coverage: float


def make_challenger(
    model: Model,
    manifest: TrainingSet,
    stores: Stores,
    *,
    tags: Mapping[str, str],
    say: Callable[[str], None],
) -> Challenger:
    """Train on the frozen set and register the outcome, whether or not it passes its gates."""
    fitted = _fitted(model, manifest, stores, say)
    holdout, outputs = fitted.holdout, fitted.outputs
    champion = champion_on(model, stores, holdout)
    evidence = _evidence(fitted)
    with tracking.scratch_folder() as scratch:
        bundle = Path(scratch)
        runtime, parity, warning = seal_bundle(
            bundle, model, fitted.contract, fitted.pipeline, holdout, outputs, evidence
        )
        if warning:
            say(f"warning: {warning}")
        speed = latency_of(bundle, holdout)
        verdicts = judge(
            model, holdout, outputs, fitted.losses, fitted.metrics, champion, parity, speed
        )
        about = {"judged_against": champion.version, "runtime": runtime}
        facts = gather(
            model,
            manifest,
            stores.lake,
            fitted.contract,
            winner=fitted.searched.winner,
            refit=fitted.refit,
            holdout=holdout,
            outputs=outputs,
            bundle=bundle,
            coverage=fitted.coverage,
            verdicts=verdicts,
            classes=fitted.classes,
            found={**tags, **about, "warning": warning},
        )
        figures = figures_of(holdout, outputs, facts)
        _log(fitted, verdicts, evidence, figures, tags)
        about |= {"parity": parity.reason, **({WARNING_TAG: warning} if warning else {})}
        version = _register(fitted, verdicts, stores, bundle, {**tags, **about})
    pictures = {name: plots.png(figure) for name, figure in figures.items()}
    first_card(stores, replace(facts, version=version), pictures, *tracking.active_run())
    return Challenger(
        version=version,
        winner=fitted.searched.winner,
        rows={"refit": len(fitted.refit), "holdout": len(holdout)},
        metrics=fitted.metrics,
        classes=fitted.classes,
        gates=verdicts,
        runtime=runtime,
        warning=warning,
        judged_against=champion.version,
        searched=fitted.searched,
        pictures=pictures,
    )


def _fitted(
    model: Model, manifest: TrainingSet, stores: Stores, say: Callable[[str], None]
) -> _Fitted:
    """Search, and fit the winner on all rows but the holdout's."""
    spec, split = model.spec, manifest.split
    refit = training_rows.read(model, stores.lake, manifest, split.refit)
    holdout = training_rows.read(model, stores.lake, manifest, split.holdout, refit.classes)
    contract = spec.contract(model.name, refit.classes)
    searched = search(model, manifest, stores, say)
    say(f"refitting {searched.winner.name} on {len(refit)} rows")
    pipeline = fit(
        searched.winner,
        contract,
        spec.derived_steps(),
        refit.frame,
        refit.y,
        spec.training.seed,
        weights=refit.weights,
        balanced=spec.training.class_weight == "balanced",
    )
    outputs = outputs_of(pipeline, holdout.frame, spec.task)
    weights, classes = holdout.weights, refit.classes
    return _Fitted(
        model=model,
        manifest=manifest,
        contract=contract,
        searched=searched,
        refit=refit,
        holdout=holdout,
        pipeline=pipeline,
        outputs=outputs,
        losses=row_losses(spec.task, holdout.y, outputs, weights),
        metrics=_metrics(model, holdout, outputs),
        classes=class_quality(holdout.y, outputs, classes, weights) if classes else (),
        coverage=training_rows.coverage(model, stores.lake, manifest, split.holdout),
    )


def _evidence(fitted: _Fitted) -> dict[str, Any]:
    """What the bundle carries for reports of later periods, and for people."""
    manifest = fitted.manifest
    return {
        "metrics": fitted.metrics,
        "classes": [asdict(one) for one in fitted.classes],
        "loss": asdict(LossReference.of(fitted.losses)),
        "label_coverage": fitted.coverage,
        "split": {name: list(getattr(manifest.split, name)) for name in PARTS},
        "training_set": manifest.id,
        "as_of": manifest.as_of,
        "trial": asdict(fitted.searched.winner),
    }


def _register(
    fitted: _Fitted,
    verdicts: tuple[GateResult, ...],
    stores: Stores,
    bundle: Path,
    tags: Mapping[str, str],
) -> str:
    """Put the bundle into the registry, with its gates' verdict. Returns the version."""
    passed = all(gate.passed for gate in verdicts)
    manifest = fitted.manifest
    return tracking.register(
        stores.registry,
        fitted.model.name,
        pipeline=fitted.pipeline,
        example=fitted.holdout.frame.head(5),
        outputs=fitted.outputs[:5],
        bundle=bundle,
        tags={
            **tags,
            "training_set": manifest.id,
            "data_hash": manifest.data_hash,
            "spec_hash": manifest.spec_hash,
            "estimator": fitted.searched.winner.name,
            GATES_TAG: "passed" if passed else "failed",
            **({} if passed else {REFUSED_TAG: refusals(verdicts)}),
        },
    )


def _metrics(model: Model, rows: Rows, outputs: np.ndarray) -> dict[str, float]:
    found = metrics(model.spec.task, rows.y, outputs, rows.classes, rows.weights)
    quantiles = model.spec.training.quantiles
    if not quantiles:
        return found
    return found | pinball_losses(rows.y, outputs, quantiles, rows.weights)


def _log(
    fitted: _Fitted,
    verdicts: tuple[GateResult, ...],
    evidence: Mapping[str, Any],
    figures: Mapping[str, Any],
    tags: Mapping[str, str],
) -> None:
    """Parameters, metrics, pictures and evidence go to the run."""
    spec, manifest, winner = fitted.model.spec, fitted.manifest, fitted.searched.winner
    tracking.log_training(
        rows=fitted.refit.frame.head(100),
        data_hash=manifest.data_hash,
        name=f"{fitted.model.name} features",
        params={
            "estimator": winner.estimator,
            **winner.params,
            "training_set": manifest.id,
            "rows": manifest.rows,
            "seed": spec.training.seed,
            **({"weight": spec.weight} if spec.weight else {}),
            "class_weight": spec.training.class_weight,
            **_search_params(fitted.model),
        },
        metrics={f"holdout_{name}": value for name, value in fitted.metrics.items()},
        tags={**tags, "estimator": winner.name},
    )
    tracking.log_pictures(figures)
    gates_found = {gate.name: asdict(gate) for gate in verdicts}
    tracking.log_json({**evidence, "gates": gates_found}, EVIDENCE)


def _search_params(model: Model) -> dict[str, Any]:
    rules = model.spec.training.search
    found = rules.model_dump(mode="json", exclude_none=True) if rules else {}
    return {f"search_{name}": value for name, value in found.items()}
