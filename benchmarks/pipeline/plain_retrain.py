"""One retrain cycle as a script: from the source's rows to the champion's alias.

The same estimators and settings, compiler, bundle, plots and MLflow records as the assets make,
by the same libraries. Not done: Dagster, the lake, frozen manifests, gates, locks, the release
record.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import skops.io
from mlflow.models import infer_signature

from benchmarks.pipeline.plain import features, schema, validated, weeks
from mlops_assets.domain.evaluation import calibration_error, metrics, row_losses
from mlops_assets.domain.profile import build
from mlops_assets.domain.training import draw_evenly, fit, outputs_of, trials
from mlops_assets.reports import plots
from mlops_assets.spec import Model
from mlops_assets.stores.bundles import TRUSTED_TYPES
from mlops_assets.stores.onnx_export import to_onnx

LAST = 2
LATENCY_ROUNDS = 50
CLASSES = ("0", "1")


def run(model: Model, source: Path, out: Path, count: int) -> dict[str, float]:
    """Ingest `count` weeks, search, refit, judge, record, register; the holdout's metrics."""
    parts = _ingested(source, out, count)
    train = parts[: -2 * LAST]
    validation, holdout = pd.concat(parts[-2 * LAST : -LAST]), pd.concat(parts[-LAST:])
    mlflow.set_tracking_uri(f"sqlite:///{out}/mlflow.db")
    mlflow.create_experiment(model.name, artifact_location=(out / "artifacts").as_uri())
    mlflow.set_experiment(model.name)
    logging.getLogger("mlflow.models.model").setLevel(logging.ERROR)
    with mlflow.start_run() as parent:
        winner = _searched(model, pd.concat(train), validation)
        contract, columns = model.spec.contract(model.name, CLASSES), list(model.spec.input_names)
        rows = pd.concat([*train, validation])
        seed = model.spec.training.seed
        pipeline = fit(winner, contract, model.spec.derived_steps(), rows[columns], _y(rows), seed)
        outputs = outputs_of(pipeline, holdout[columns], "binary")
        y = _y(holdout)
        found = metrics("binary", y, outputs, CLASSES)
        found["calibration_error"] = calibration_error(y, outputs)
        found["loss"] = float(row_losses("binary", y, outputs).mean())
        bundle = out / "bundle"
        found |= _bundled(bundle, pipeline, contract, holdout[columns], outputs)
        mlflow.log_params({"estimator": winner.estimator, **winner.params, "rows": len(rows)})
        mlflow.log_metrics({f"holdout_{name}": value for name, value in found.items()})
        for name, figure in {
            "confusion_matrix": plots.confusion_matrix(y, outputs.argmax(axis=1), CLASSES),
            "roc": plots.roc_curves(y, outputs, CLASSES),
            "calibration": plots.calibration(y, outputs, CLASSES),
        }.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        mlflow.log_artifacts(str(bundle), "bundle")
        logged = mlflow.sklearn.log_model(
            pipeline,
            name="model",
            serialization_format="skops",
            skops_trusted_types=TRUSTED_TYPES,
            signature=infer_signature(holdout[columns].head(5), outputs[:5]),
            input_example=holdout[columns].head(5),
            pip_requirements=["scikit-learn", "skops", "numpy", "pandas"],
        )
    client = mlflow.MlflowClient()
    client.create_registered_model(model.name)
    version = client.create_model_version(model.name, logged.model_uri, parent.info.run_id)
    client.set_registered_model_alias(model.name, "champion", version.version)
    return found


def _ingested(source: Path, out: Path, count: int) -> list[pd.DataFrame]:
    contract, made = schema(), []
    for name in ("raw", "valid", "features"):
        (out / name).mkdir(parents=True)
    for _, (week, rows) in zip(range(count), weeks(source), strict=False):
        valid, _ = validated(rows, contract)
        found = features(valid)
        for name, part in (("raw", rows), ("valid", valid), ("features", found)):
            part.to_parquet(out / name / f"{week}.parquet")
        made.append(found[found["label"].notna()])
    return made


def _searched(model: Model, train: pd.DataFrame, validation: pd.DataFrame) -> Any:
    spec, columns = model.spec, list(model.spec.input_names)
    contract = spec.contract(model.name, CLASSES)
    seed = spec.training.seed
    train = train.iloc[draw_evenly(len(train), spec.training.search_rows, seed)]
    scores: dict[str, float] = {}
    todo = trials([candidate.model_dump() for candidate in spec.training.candidates])
    for trial in todo:
        started = time.perf_counter()
        fitted = fit(trial, contract, spec.derived_steps(), train[columns], _y(train), seed)
        outputs = outputs_of(fitted, validation[columns], "binary")
        found = metrics("binary", _y(validation), outputs, CLASSES)
        with mlflow.start_run(run_name=trial.name, nested=True):
            mlflow.log_params({"estimator": trial.estimator, **trial.params})
            mlflow.log_metrics({f"validation_{name}": value for name, value in found.items()})
            mlflow.log_metric("fit_seconds", time.perf_counter() - started)
        scores[trial.name] = found[spec.primary_metric]
    best = min(scores, key=lambda name: scores[name])
    return next(trial for trial in todo if trial.name == best)


def _bundled(
    folder: Path, pipeline: Any, contract: Any, rows: pd.DataFrame, outputs: np.ndarray
) -> dict[str, float]:
    """Write skops, ONNX and the reference profile; how well and how fast the graph answers."""
    folder.mkdir()
    arrays = {str(name): rows[name].to_numpy() for name in rows}
    skops.io.dump(pipeline, folder / "model.skops")
    profile = build(arrays, contract.asked, outputs, CLASSES)
    (folder / "reference.json").write_bytes(profile.to_json())
    (folder / "model.onnx").write_bytes(to_onnx(pipeline, contract))
    (folder / "contract.json").write_bytes(contract.to_json())
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    feed = {name: values.reshape(-1, 1) for name, values in arrays.items()}
    served = session.run(["probabilities"], feed)[0]
    times = []
    for place in range(LATENCY_ROUNDS):
        row = {name: values[place : place + 1] for name, values in feed.items()}
        started = time.perf_counter()
        session.run(["probabilities"], row)
        times.append(time.perf_counter() - started)
    found = {
        "parity": float(np.abs(served - outputs).max()),
        "latency_ms": 1000 * float(np.median(times)),
    }
    (folder / "evidence.json").write_text(json.dumps(found))
    return found


def _y(rows: pd.DataFrame) -> np.ndarray:
    return (rows["label"] == "1").to_numpy().astype(np.int64)
