"""From features to a judged challenger: training_set, challenger."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.options import key, options
from mlops_assets.assets.provenance import code_version
from mlops_assets.resources import ALL_PERIODS, WINDOW_TAG, Stores
from mlops_assets.spec import Model
from mlops_assets.spec.metrics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from mlops_assets.assets.challenge import Challenger

GATES = {
    "minimum_quality": "Metrics on the holdout reach their limits.",
    "not_worse_than_champion": "Non-inferior to the champion on the same rows, by a paired "
    "bootstrap interval.",
    "slices_hold": "No declared slice is surely worse than with the champion.",
    "calibrated": "Probabilities mean what they say.",
    "serves_as_trained": "The bundle, loaded as serving loads it, follows the pipeline and is "
    "fast enough.",
    "documented": "If gates.require_card asks for it: purpose, owner and limits are filled in.",
}


def training_set(model: Model) -> dg.AssetsDefinition:
    """The asset of the frozen manifest."""

    @dg.asset(
        **options(model, "training_set", group="training", kinds={"deltalake"}, per_period=False),
        description="A frozen manifest of what is trained on: periods, row counts, content "
        "hashes, and a split by time. Only rows whose label was known count.",
        deps=[dg.AssetDep(key(model, "features"), partition_mapping=dg.AllPartitionMapping())],
    )
    def _training_set(context: dg.AssetExecutionContext, stores: Stores) -> Any:
        from mlops_assets.assets.tables import records_table
        from mlops_assets.stores.training_rows import freeze

        window = context.run.tags.get(WINDOW_TAG)
        last = model.spec.training.window.last
        if window:
            last = None if window == ALL_PERIODS else int(window)
        manifest = freeze(model, stores.lake, stores.clock.now(), last)
        split = manifest.split
        counts = {part.period: part.rows for part in manifest.periods}
        return dg.MaterializeResult(
            data_version=dg.DataVersion(manifest.id),
            metadata={
                "training_set": manifest.id,
                "as_of": manifest.as_of,
                "rows": manifest.rows,
                "train": f"{split.train[0]} … {split.train[-1]}",
                "validation": f"{split.validation[0]} … {split.validation[-1]}",
                "holdout": f"{split.holdout[0]} … {split.holdout[-1]}",
                "features_table_version": manifest.table_version,
                "periods": records_table(
                    [
                        {"part": name, "period": period, "rows": counts[period]}
                        for name in ("train", "validation", "holdout")
                        for period in getattr(split, name)
                    ]
                ),
            },
        )

    return _training_set


def challenger(model: Model) -> dg.AssetsDefinition:
    """The asset of a trained, registered and judged version."""
    name = key(model, "challenger")

    @dg.asset(
        **options(
            model,
            "challenger",
            group="training",
            kinds={"scikitlearn", "mlflow", "onnx"},
            per_period=False,
        ),
        description="The winner of the search over candidates, refitted, registered with its "
        "serving bundle, and judged by the gates. The alias `challenger` points to it.",
        deps=[key(model, "training_set")],
        check_specs=[
            dg.AssetCheckSpec(gate, asset=name, blocking=True, description=description)
            for gate, description in GATES.items()
        ],
    )
    def _challenger(
        context: dg.AssetExecutionContext, stores: Stores, mlflow: dg.ResourceParam[Any]
    ) -> Iterator[Any]:
        from mlops_assets.assets.challenge import make_challenger
        from mlops_assets.stores import training_rows

        manifest = training_rows.load(model.name, stores.lake, _frozen_set(context, model))
        made = make_challenger(
            model, manifest, stores, tags=_provenance(context), say=context.log.info
        )
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(f"{model.name}-{made.version}"),
            metadata={"training_set": manifest.id, **_metadata(model, made)},
        )
        for gate in made.gates:
            yield dg.AssetCheckResult(
                passed=gate.passed,
                check_name=gate.name,
                asset_key=name,
                description=gate.reason,
                metadata={"version": made.version, **gate.evidence},
            )

    return _challenger


def _metadata(model: Model, made: "Challenger") -> dict[str, Any]:
    """What Dagster shows of a new version: figures, gates, trials and pictures."""
    from mlops_assets.assets.tables import classes_table, records_table
    from mlops_assets.reports.plots import markdown_image

    gates = [
        {"gate": gate.name, "passed": gate.passed, "reason": gate.reason} for gate in made.gates
    ]
    return {
        "version": made.version,
        "estimator": made.winner.name,
        "runtime": made.runtime,
        **({"warning": made.warning} if made.warning else {}),
        "rows": dict(made.rows),
        **{f"holdout_{metric}": value for metric, value in made.metrics.items()},
        **({"classes": classes_table(made.classes)} if made.classes else {}),
        "gates": records_table(gates),
        **{
            picture: dg.MetadataValue.md(markdown_image(png, picture))
            for picture, png in made.pictures.items()
        },
        "trials": _trials_table(model, made.searched.trials),
    }


def _trials_table(model: Model, trials: Iterable[tuple[Any, Mapping[str, float]]]) -> Any:
    """The trials, best first. The page is too narrow for a column per metric."""
    from mlops_assets.assets.tables import records_table

    metric = model.spec.primary_metric
    ordered = sorted(
        (trial for trial in trials if metric in trial[1]),
        key=lambda trial: trial[1][metric],
        reverse=metric not in LOWER_IS_BETTER,
    )
    return records_table(
        [
            {
                "trial": trial.name,
                metric: scores[metric],
                "other metrics": ", ".join(
                    f"{name} {score:.4g}" for name, score in scores.items() if name != metric
                ),
            }
            for trial, scores in ordered
        ]
    )


def _frozen_set(context: dg.AssetExecutionContext, model: Model) -> str:
    event = context.instance.get_latest_materialization_event(key(model, "training_set"))
    materialization = event.asset_materialization if event else None
    if materialization is None:
        raise dg.Failure(f"{model.name} has no training_set: materialise it first.")
    return str(materialization.metadata["training_set"].value)


def _provenance(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Tags that lead from a version back to the run and the code that made it."""
    reason = context.run.tags.get("mlops/reason", "started by hand")
    return {"dagster_run_id": context.run.run_id, "code_version": code_version(), "reason": reason}
