"""What a training leaves in MLflow: trials, metrics, the input's hash, plots, the model.

Everything is logged to the run that is active, which dagster-mlflow opened for the training.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops_assets.domain.imbalance import fitted_estimator
from mlops_assets.domain.training import Trial
from mlops_assets.stores.bundles import SKOPS_MODEL, TRUSTED_TYPES
from mlops_assets.stores.registry import BUNDLE, CHALLENGER, Registry
from mlops_assets.stores.servable import stored, untrusted_types

TRIAL_TAG = "trial"
# Listed by hand: MLflow takes seconds to find them out by itself.
REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")


def log_trial(
    trial: Trial, metrics: Mapping[str, float], seconds: float, *, pruned: bool = False
) -> None:
    """One nested run: the trial's settings and its metrics on the validation window.

    Those of a pruned trial are of some of the windows, and have names of their own.
    """
    import mlflow

    with mlflow.start_run(run_name=trial.name, nested=True):
        mlflow.log_params({"estimator": trial.estimator, **trial.params})
        prefix = "pruned" if pruned else "validation"
        mlflow.log_metrics({f"{prefix}_{name}": value for name, value in metrics.items()})
        mlflow.log_metric("fit_seconds", seconds)
        mlflow.set_tag(TRIAL_TAG, trial.name)


def active_run() -> tuple[str, str]:
    """Id and address of the artifacts of the run that is active."""
    import mlflow

    info = mlflow.active_run().info
    return str(info.run_id), str(info.artifact_uri)


def log_training(
    *,
    rows: pd.DataFrame,
    data_hash: str,
    name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    """The parent run's facts, with the input dataset under its content hash."""
    import mlflow

    # `rows` are only shown as an example: the hash names the whole content.
    dataset = mlflow.data.from_pandas(rows, name=name, digest=data_hash[:32])
    mlflow.log_input(dataset, context="training")
    mlflow.log_params(dict(params))
    mlflow.log_metrics(dict(metrics))
    mlflow.set_tags(dict(tags))


def log_pictures(figures: Mapping[str, Any]) -> None:
    """Matplotlib figures, as `plots/<name>.png`."""
    import mlflow

    for name, figure in figures.items():
        mlflow.log_figure(figure, f"plots/{name}.png")


def log_json(content: Mapping[str, Any], name: str) -> None:
    """A JSON artifact of the active run."""
    import mlflow

    mlflow.log_text(json.dumps(content, indent=1, sort_keys=True, default=str), name)


def register(
    registry: Registry,
    model: str,
    *,
    pipeline: Any,
    example: pd.DataFrame,
    outputs: np.ndarray,
    bundle: Path,
    tags: Mapping[str, str],
) -> str:
    """Log pipeline and bundle, register the version, and make it the challenger.

    The pipeline is stored by skops, with signature and input example; serving uses the bundle.
    """
    import mlflow
    from mlflow.models import infer_signature

    run = mlflow.active_run().info
    mlflow.log_artifacts(str(bundle), BUNDLE)
    with _without_example_check():
        logged = mlflow.sklearn.log_model(
            pipeline,
            name="model",
            serialization_format="skops",
            skops_trusted_types=[*TRUSTED_TYPES, *_types_only_here(bundle)],
            signature=infer_signature(example, outputs),
            input_example=example,
            pip_requirements=_requirements(pipeline),
        )
    client = registry.client
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    version = client.create_model_version(
        model,
        source=logged.model_uri,
        run_id=run.run_id,
        tags=dict(tags),
        model_id=logged.model_id,
    )
    registry.set_alias(model, CHALLENGER, str(version.version))
    return str(version.version)


def _library(pipeline: Any) -> str:
    return type(fitted_estimator(pipeline)).__module__.partition(".")[0]


def _requirements(pipeline: Any) -> list[str]:
    return [*REQUIREMENTS, *({_library(pipeline)} - {"sklearn"})]


def _types_only_here(bundle: Path) -> list[str]:
    """Types that MLflow needs to check what it has just written; serving never trusts them."""
    return list(untrusted_types((bundle / SKOPS_MODEL).read_bytes()))


@contextmanager
def _without_example_check() -> Iterator[None]:
    """MLflow would load the model to try the example, which our ban on its loaders refuses.

    The gate on the bundle tries far more rows, loaded the way serving loads them.
    """
    logger = logging.getLogger("mlflow.models.model")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def write_bundle(
    folder: Path,
    *,
    files: Mapping[str, bytes],
    pipeline: Any,
) -> None:
    """Put the parts of a bundle into an empty folder; stores.bundles seals it.

    Raises ValueError for a pipeline that skops cannot store.
    """
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / SKOPS_MODEL).write_bytes(stored(pipeline))


def scratch_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder that is gone when the training ends."""
    return tempfile.TemporaryDirectory(prefix="mlops-training-")


def close_orphans(registry: Registry, run_ids: Sequence[str]) -> list[str]:
    """End as FAILED the MLflow runs that these Dagster runs left open; return their ids."""
    closed = []
    client = registry.client
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for run_id in run_ids:
        open_runs = client.search_runs(
            experiments,
            f"tags.dagster_run_id = '{run_id}' and attributes.status = 'RUNNING'",
        )
        children = [
            child
            for parent in open_runs
            for child in client.search_runs(
                [parent.info.experiment_id],
                f"tags.mlflow.parentRunId = '{parent.info.run_id}' "
                "and attributes.status = 'RUNNING'",
            )
        ]
        for run in [*children, *open_runs]:
            client.set_terminated(run.info.run_id, status="FAILED")
            closed.append(run.info.run_id)
    return closed
