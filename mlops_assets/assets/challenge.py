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
    champion_losses,
    judge,
    latency_of,
    seal_bundle,
)
from mlops_assets.assets.search import Searched, search
from mlops_assets.domain.class_quality import ClassQuality, class_quality
from mlops_assets.domain.evaluation import metrics, pinball_losses, row_losses
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


def make_challenger(
    model: Model,
    manifest: TrainingSet,
    stores: Stores,
    *,
    tags: Mapping[str, str],
    say: Callable[[str], None],
) -> Challenger:
    """Train on the frozen set and register the outcome, whether or not it passes its gates."""
    spec, split = model.spec, manifest.split
    refit_rows = training_rows.read(model, stores.lake, manifest, split.refit)
    classes = refit_rows.classes
    holdout = training_rows.read(model, stores.lake, manifest, split.holdout, classes)
    contract = spec.contract(model.name, classes)
    searched = search(model, manifest, stores, say)
    derived = spec.derived_steps()
    say(f"refitting {searched.winner.name} on {len(refit_rows)} rows")
    pipeline = fit(
        searched.winner,
        contract,
        derived,
        refit_rows.frame,
        refit_rows.y,
        spec.training.seed,
        weights=refit_rows.weights,
        balanced=spec.training.class_weight == "balanced",
    )
    outputs = outputs_of(pipeline, holdout.frame, spec.task)
    found = _metrics(model, holdout, outputs)
    weights = holdout.weights
    by_class = class_quality(holdout.y, outputs, classes, weights) if classes else ()
    losses = row_losses(spec.task, holdout.y, outputs, weights)
    champion, theirs = champion_losses(model, stores, holdout)
    coverage = training_rows.coverage(model, stores.lake, manifest, split.holdout)
    with tracking.scratch_folder() as scratch:
        bundle = Path(scratch)
        evidence = {
            "metrics": found,
            "classes": [asdict(one) for one in by_class],
            "loss": asdict(LossReference.of(losses)),
            "label_coverage": coverage,
            "split": {name: list(getattr(split, name)) for name in PARTS},
            "training_set": manifest.id,
            "as_of": manifest.as_of,
            "trial": asdict(searched.winner),
        }
        runtime, parity, warning = seal_bundle(
            bundle, model, contract, pipeline, holdout, outputs, evidence
        )
        if warning:
            say(f"warning: {warning}")
        verdicts = judge(
            model,
            holdout,
            outputs,
            losses,
            found,
            theirs,
            parity,
            latency_of(bundle, holdout),
        )
        judged = {"judged_against": champion, "runtime": runtime, "warning": warning}
        facts = gather(
            model,
            manifest,
            stores.lake,
            contract,
            winner=searched.winner,
            refit=refit_rows,
            holdout=holdout,
            outputs=outputs,
            bundle=bundle,
            coverage=coverage,
            verdicts=verdicts,
            classes=by_class,
            found={**tags, **judged},
        )
        figures = figures_of(holdout, outputs, facts)
        _log(model, manifest, searched.winner, refit_rows, found, verdicts, evidence, figures, tags)
        passed = all(gate.passed for gate in verdicts)
        version = tracking.register(
            stores.registry,
            model.name,
            pipeline=pipeline,
            example=holdout.frame.head(5),
            outputs=outputs[:5],
            bundle=bundle,
            tags={
                **tags,
                "training_set": manifest.id,
                "data_hash": manifest.data_hash,
                "spec_hash": manifest.spec_hash,
                "judged_against": champion,
                "runtime": runtime,
                "parity": parity.reason,
                **({WARNING_TAG: warning} if warning else {}),
                "estimator": searched.winner.name,
                GATES_TAG: "passed" if passed else "failed",
                **({} if passed else {REFUSED_TAG: refusals(verdicts)}),
            },
        )
    pictures = {name: plots.png(figure) for name, figure in figures.items()}
    first_card(stores, replace(facts, version=version), pictures, *tracking.active_run())
    return Challenger(
        version=version,
        winner=searched.winner,
        rows={"refit": len(refit_rows), "holdout": len(holdout)},
        metrics=found,
        classes=by_class,
        gates=verdicts,
        runtime=runtime,
        warning=warning,
        judged_against=champion,
        searched=searched,
        pictures=pictures,
    )


def _metrics(model: Model, rows: Rows, outputs: np.ndarray) -> dict[str, float]:
    found = metrics(model.spec.task, rows.y, outputs, rows.classes, rows.weights)
    quantiles = model.spec.training.quantiles
    if not quantiles:
        return found
    return found | pinball_losses(rows.y, outputs, quantiles, rows.weights)


def _log(
    model: Model,
    manifest: TrainingSet,
    winner: Trial,
    refit_rows: Rows,
    found: Mapping[str, float],
    verdicts: tuple[GateResult, ...],
    evidence: Mapping[str, Any],
    figures: Mapping[str, Any],
    tags: Mapping[str, str],
) -> None:
    tracking.log_training(
        rows=refit_rows.frame.head(100),
        data_hash=manifest.data_hash,
        name=f"{model.name} features",
        params={
            "estimator": winner.estimator,
            **winner.params,
            "training_set": manifest.id,
            "rows": manifest.rows,
            "seed": model.spec.training.seed,
            **({"weight": model.spec.weight} if model.spec.weight else {}),
            "class_weight": model.spec.training.class_weight,
            **_search_params(model),
        },
        metrics={f"holdout_{name}": value for name, value in found.items()},
        tags={**tags, "estimator": winner.name},
    )
    tracking.log_pictures(figures)
    gates_found = {gate.name: asdict(gate) for gate in verdicts}
    tracking.log_json({**evidence, "gates": gates_found}, EVIDENCE)


def _search_params(model: Model) -> dict[str, Any]:
    rules = model.spec.training.search
    found = rules.model_dump(mode="json", exclude_none=True) if rules else {}
    return {f"search_{name}": value for name, value in found.items()}
