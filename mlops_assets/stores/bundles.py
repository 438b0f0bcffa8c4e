"""Serving bundles: folders that hold everything that serving needs of one model version.

A bundle names the sha256 of each of its files, and nothing of it is opened before they hold. The
compiled ONNX graph is preferred; the fitted pipeline is the fallback, read by skops with our own
list of trusted types. Nothing here ever unpickles. ONNX Runtime, skops and pandas are imported
where they are used: scoring through ONNX needs neither scikit-learn nor pandas.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from mlops_assets.domain.coded import Column, plain
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import BundleError
from mlops_assets.stores.files import sha256_of, write_atomically

if TYPE_CHECKING:
    from mlops_assets.stores.bulk_onnx import BulkOnnx
    from mlops_assets.stores.joined_columns import JoinedRecord

FORMAT = 1
MANIFEST = "manifest.json"
CONTRACT = "contract.json"
ESTIMATOR = "estimator.json"
SEGMENTS = "segments.json"
ONNX_MODEL = "model.onnx"
SKOPS_MODEL = "model.skops"
# Below this many rows ONNX Runtime is as fast by itself.
BULK_ROWS = 128

# All that a pipeline of ours may hold beyond what skops trusts by itself. A type outside this
# list is refused, whatever the file says about itself.
# LightGBM keeps its model as text. XGBoost keeps raw bytes, a dump of its memory that its
# documentation calls unfit for exchange: it is served through ONNX or not at all.
TRUSTED_TYPES = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "mlops_assets.domain.bins.Bins",
    "mlops_assets.domain.features.AsFloat32",
    "mlops_assets.domain.features.DeriveColumns",
    "mlops_assets.domain.imbalance.BalancedClasses",
    "mlops_assets.domain.levels.FrequentLevels",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.tree._tree.Tree",
)

XGBOOST_HINT = (
    " (xgboost's own format is raw bytes that cannot be checked, so its models are served through "
    "ONNX only: choose settings that convert)"
)

Runtime = Literal["onnx", "skops"]
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself: its files' sha256, how to run it, how well it compiled."""

    runtime: Runtime
    files: dict[str, str]
    parity: dict[str, Any]


class Scorer(Protocol):
    """A loaded model.

    `score` takes the contract's columns, each of shape (n,): float64 with NaN for missing, or
    text as object arrays of str or coded. It returns float64 of shape (n, number of classes) with
    probabilities, or (n, 1) with values for a regression.
    """

    @property
    def contract(self) -> Contract:
        """Inputs and outputs of the model."""
        ...

    def score(self, columns: Columns) -> np.ndarray:
        """Predict every row."""
        ...


def write_manifest(folder: Path, runtime: Runtime, parity: Mapping[str, Any]) -> Manifest:
    """Seal the folder: hash every file in it and write manifest.json.

    `parity` is kept as evidence of how closely the compiled model follows the pipeline. Raises
    BundleError when a file that the runtime needs is missing.
    """
    files = {path.name: sha256_of(path) for path in _regular_files(folder)}
    manifest = Manifest(runtime=runtime, files=files, parity=dict(parity))
    _require(manifest, folder)
    content = {"format": FORMAT, "runtime": runtime, "files": files, "parity": manifest.parity}
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1, sort_keys=True).encode())
    return manifest


def verify(folder: Path) -> Manifest:
    """Check that the folder holds exactly the files that its manifest names, unchanged.

    Raises BundleError for a file that is missing, changed, not listed, or not a plain file.
    """
    found = {path.name for path in _regular_files(folder)}
    manifest = _read_manifest(folder)
    for name in sorted(found ^ manifest.files.keys()):
        why = "is not in its manifest" if name in found else "is missing"
        raise BundleError(f"Bundle {folder}: {name} {why}; fetch the version again.")
    for name, expected in manifest.files.items():
        actual = sha256_of(folder / name)
        if actual != expected:
            raise BundleError(
                f"Bundle {folder}: {name} has sha256 {actual[:12]}…, its manifest says "
                f"{expected[:12]}…; fetch the version again."
            )
    _require(manifest, folder)
    return manifest


def load_scorer(folder: Path, bulk: bool = False) -> Scorer:
    """Verify the bundle and load its model; with `bulk`, made ready for many rows, see OnnxScorer.

    Raises BundleError when the bundle does not verify, or its model cannot be loaded, isn't
    trusted, or does not fit its contract.
    """
    manifest = verify(folder)
    try:
        contract = Contract.from_json((folder / CONTRACT).read_bytes())
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"Bundle {folder}: {CONTRACT} cannot be read: {error}") from error
    if manifest.runtime == "onnx":
        return OnnxScorer(contract, folder / ONNX_MODEL, bulk)
    return SkopsScorer(contract, folder / SKOPS_MODEL)


class OnnxScorer:
    """Scores through ONNX Runtime, on one thread.

    With `bulk`, calls of BULK_ROWS and more are scored by `stores.bulk_onnx` where the model allows
    it: several times faster, and equal within float32's rounding. Where that is quick for one row,
    too, all calls are, so that a row's answer does not depend on how many come with it.
    """

    def __init__(self, contract: Contract, path: Path, bulk: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise BundleError(f"{path} is no ONNX model that we can run: {error}") from error
        self.contract = contract
        self._dtypes = {
            node.name: _onnx_dtype(node.type, path) for node in self._session.get_inputs()
        }
        expected = {column.name for column in contract.columns}
        if self._dtypes.keys() != expected:
            raise BundleError(
                f"{path} and its contract disagree on {sorted(expected ^ self._dtypes.keys())}."
            )
        self.textual = tuple(c.name for c in contract.columns if c.type == "category")
        self.numeric = tuple(c.name for c in contract.columns if c.type != "category")
        self.takes_records = all(self._dtypes[name] is np.float64 for name in self.numeric)
        names = [node.name for node in self._session.get_outputs()]
        self._outputs = ["probabilities" if "probabilities" in names else names[-1]]
        self.bulk: BulkOnnx | None = None
        self._record: JoinedRecord | None = None
        if bulk:
            from mlops_assets.stores.bulk_onnx import bulk_of

            self.bulk = bulk_of(path, self._outputs[0], options)
        if self.bulk is not None:
            self._record = self.bulk.record_maker([*self.numeric, *self.textual])
        self._least = BULK_ROWS if self._record is None else 1

    def score(self, columns: Columns) -> np.ndarray:
        """Predict every row; see Scorer."""
        if self.bulk is not None and len(next(iter(columns.values()))) >= self._least:
            return self.bulk.score(columns)
        arrays = plain(columns)
        feed: dict[str, np.ndarray] = {
            name: arrays[name].astype(dtype, copy=False).reshape(-1, 1)
            for name, dtype in self._dtypes.items()
        }
        output = self._session.run(self._outputs, feed)[0]
        return np.asarray(output, dtype=np.float64).reshape(len(output), -1)

    def score_record(
        self, numbers: Sequence[float | None], categories: Sequence[str]
    ) -> list[float]:
        """Predict one row: the values of `numeric` and of `textual` columns, in that order.

        The same as `score` for one row at a fraction of its fixed costs. Only where
        `takes_records`.
        """
        if self.bulk is not None and self._record is not None:
            matrix = self._record.matrix((*numbers, *categories))
            found: list[float] = self.bulk.of_matrix(matrix)[0].tolist()
            return found
        # One array for all numbers; iterating it gives views of shape (1, 1).
        values = np.array(numbers, dtype=np.float64).reshape(-1, 1, 1)
        feed: dict[str, np.ndarray] = dict(zip(self.numeric, values, strict=True))
        for name, text in zip(self.textual, categories, strict=True):
            feed[name] = np.array([[text]], dtype=object)
        output = self._session.run(self._outputs, feed)[0]
        scores: list[float] = output.reshape(-1).tolist()
        return scores


def load_pipeline(path: Path) -> Any:
    """The fitted pipeline in a skops file; BundleError where it holds a type we don't trust."""
    import skops.io

    try:
        return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # a damaged file makes skops and its readers raise anything
        why = XGBOOST_HINT if "xgboost" in str(error) else ""
        raise BundleError(f"{path} is no pipeline that we trust: {error}{why}") from error


class SkopsScorer:
    """Scores through the fitted scikit-learn pipeline."""

    def __init__(self, contract: Contract, path: Path) -> None:
        self._pipeline = load_pipeline(path)
        self.contract = contract
        self._predict = (
            self._pipeline.predict if contract.task == "regression" else self._probabilities
        )

    def score(self, columns: Columns) -> np.ndarray:
        """Predict every row; see Scorer."""
        import pandas as pd

        arrays = plain(columns)
        frame = pd.DataFrame({column.name: arrays[column.name] for column in self.contract.columns})
        output = np.asarray(self._predict(frame), dtype=np.float64)
        return output.reshape(len(frame), -1)

    def _probabilities(self, frame: Any) -> Any:
        return self._pipeline.predict_proba(frame)


def _onnx_dtype(name: str, path: Path) -> type:
    dtypes: dict[str, type] = {
        "tensor(double)": np.float64,
        "tensor(float)": np.float32,
        "tensor(string)": object,
    }
    if name not in dtypes:
        raise BundleError(f"{path} takes {name}; we feed only {', '.join(dtypes)}.")
    return dtypes[name]


def _regular_files(folder: Path) -> list[Path]:
    """Every file but the manifest, by name; BundleError for anything that is no plain file."""
    if not folder.is_dir():
        raise BundleError(f"Bundle {folder} does not exist.")
    paths = sorted(Path(entry.path) for entry in os.scandir(folder))
    for path in paths:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(f"Bundle {folder}: {path.name} is no plain file.")
    return [path for path in paths if path.name != MANIFEST]


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise BundleError(f"{path} has format {content['format']}, we read format {FORMAT}.")
        if content["runtime"] not in ("onnx", "skops"):
            raise BundleError(f"{path} names the unknown runtime {content['runtime']!r}.")
        files = {str(name): str(digest) for name, digest in content["files"].items()}
        parity = dict(content["parity"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} cannot be read: {error!r}") from error
    for name in files:
        if Path(name).name != name or name in (MANIFEST, ".", ".."):
            raise BundleError(f"{path} names {name!r}, which is no plain file of the bundle.")
    return Manifest(runtime=content["runtime"], files=files, parity=parity)


def _require(manifest: Manifest, folder: Path) -> None:
    needed = {CONTRACT, SKOPS_MODEL} | ({ONNX_MODEL} if manifest.runtime == "onnx" else set())
    for name in sorted(needed - manifest.files.keys()):
        raise BundleError(f"Bundle {folder} lacks {name}, which {manifest.runtime} needs.")
