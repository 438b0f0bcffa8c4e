"""The model that everyone serves: 12 numeric and 8 categorical columns, two kinds of trees."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.apps.columns import CATEGORIES, NUMBERS
from mlops_assets.domain.contract import Contract, ContractColumn

LEVELS = (2, 3, 4, 6, 8, 12, 16, 40)
TRAINING_ROWS = 10_000
MAX_ROWS = 10_000
NAME = "benchmark"
MODELS = ("boosting", "forest")

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Sample:
    """Rows of one request, by column, and the probability of the second class of each."""

    columns: Columns
    expected: np.ndarray

    @property
    def rows(self) -> int:
        """How many rows the request has."""
        return len(self.expected)


@dataclass(frozen=True)
class Built:
    """A fitted pipeline on disk: as a joblib file for the peers and as our sealed bundle."""

    model: str
    contract: Contract
    pipeline: Any
    joblib_file: Path
    bundle: Path

    def sample(self, rows: int, seed: int) -> Sample:
        """Rows that the model has not seen, with the pipeline's own answers."""
        columns = draw(rows, seed)
        return Sample(columns, self.pipeline.predict_proba(_frame(columns, self.contract))[:, 1])


def contract() -> Contract:
    """The inputs, none of them nullable, in the order in which they are sent."""
    columns = [ContractColumn(name, "number", nullable=False) for name in NUMBERS]
    columns += [ContractColumn(name, "category", nullable=False) for name in CATEGORIES]
    return Contract(NAME, "binary", tuple(columns), ("no", "yes"), "", "", MAX_ROWS)


def draw(rows: int, seed: int) -> Columns:
    """Synthetic rows by column: normal numbers with four decimals, uniform levels."""
    random = np.random.default_rng(seed)
    columns: Columns = {}
    for i, name in enumerate(NUMBERS):
        columns[name] = np.round(random.normal(i, 1 + i / 4, rows), 4).tolist()
    for name, levels in zip(CATEGORIES, LEVELS, strict=True):
        columns[name] = [f"level_{level}" for level in random.integers(0, levels, rows)]
    return columns


def build(model: str, folder: Path, seed: int = 0) -> Built:
    """Train, compile and seal with the project's own code, into a new folder."""
    import joblib
    import skops.io

    from mlops_assets.domain import profile
    from mlops_assets.domain.features import as_arrays
    from mlops_assets.domain.features import pipeline as assemble
    from mlops_assets.stores.bundles import write_manifest
    from mlops_assets.stores.onnx_export import to_onnx

    agreed = contract()
    columns = draw(TRAINING_ROWS, seed)
    family, estimator = _estimator(model, seed)
    fitted = assemble(family, agreed.columns, [], estimator)
    frame = _frame(columns, agreed)
    fitted.fit(frame, _labels(columns, seed))
    answers = np.asarray(fitted.predict_proba(frame))
    reference = profile.build(as_arrays(frame), agreed.columns, answers, agreed.classes)
    bundle = folder / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "contract.json").write_bytes(agreed.to_json())
    (bundle / "reference.json").write_bytes(reference.to_json())
    (bundle / "model.onnx").write_bytes(to_onnx(fitted, agreed))
    skops.io.dump(fitted, bundle / "model.skops")
    write_manifest(bundle, "onnx", {})
    joblib_file = folder / "model.joblib"
    joblib.dump(fitted, joblib_file)
    return Built(model, agreed, fitted, joblib_file, bundle)


def _estimator(model: str, seed: int) -> tuple[str, Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    if model == "forest":
        return "forest", RandomForestClassifier(n_estimators=100, random_state=seed)
    return "boosting", HistGradientBoostingClassifier(early_stopping=False, random_state=seed)


def _labels(columns: Columns, seed: int) -> np.ndarray:
    """A noisy rule of numbers and levels, so that trees grow deep."""
    numbers = np.array([columns[name] for name in NUMBERS])
    levels = np.array([[hash_of(value) for value in columns[name]] for name in CATEGORIES])
    standard = (numbers - numbers.mean(axis=1, keepdims=True)) / numbers.std(axis=1, keepdims=True)
    score = standard[:6].sum(axis=0) + standard[6] * standard[7] + levels.sum(axis=0)
    noise = np.random.default_rng(seed + 1).normal(0, 2, len(score))
    noisy = score + noise
    return np.asarray(noisy > np.median(noisy), dtype=int)


def hash_of(level: str) -> float:
    """An effect between -1 and 1 for each level, the same in every process."""
    return float(np.sin(1.7 * int(level.removeprefix("level_")) + 1))


def _frame(columns: Columns, agreed: Contract) -> Any:
    from mlops_assets.domain.features import model_frame

    return model_frame(columns, agreed.columns)
