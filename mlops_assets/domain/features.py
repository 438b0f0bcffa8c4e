"""From a row of the contract to what an estimator sees: one fitted pipeline for both sides.

Derived columns and encoders are steps of the pipeline, so training and serving cannot differ.
The source of a step's semantics is scikit-learn's; `DeriveColumns` and
`AsFloat32` are ours and convert to ONNX in `stores.onnx_export`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from mlops_assets.domain.bins import Bins
from mlops_assets.domain.contract import MISSING_CATEGORY, ContractColumn
from mlops_assets.domain.date_parts import parts_of_series
from mlops_assets.domain.levels import FrequentLevels

NAN = float("nan")
EVENT_TIME = "event_time"


class DeriveColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Compute one derived column (two for `cyclical`) from one or more numeric columns.

    Input is an array of shape (n, columns), output of shape (n, 1) or (n, 2). A missing
    input, a division by zero and a logarithm of a value of -1 or less give NaN.
    """

    # Libraries differ in what little is left of a sine at its zeros, enough to cross a split.
    CYCLE_SCALE = 1e12

    def __init__(self, kind: str, cycle: float | None = None) -> None:
        self.kind = kind
        self.cycle = cycle

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learn nothing: a derived column depends on its own row alone."""
        self.n_features_in_ = np.shape(X)[1]
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the derived columns, float64."""
        values = np.asarray(X, dtype=np.float64)
        first, last = values[:, 0], values[:, -1]
        with np.errstate(all="ignore"):
            if self.kind == "difference":
                out = first - last
            elif self.kind == "product":
                out = first * last
            elif self.kind == "sum":
                # One by one, as compiled: the order of additions tells in the last bit.
                out = first
                for place in range(1, values.shape[1]):
                    out = out + values[:, place]
            elif self.kind == "ratio":
                out = np.where(last == 0, NAN, first / np.where(last == 0, 1, last))
            elif self.kind == "log1p":
                out = np.where(first > -1, np.log1p(np.where(first > -1, first, 0)), NAN)
                out = np.where(np.isnan(first), NAN, out)
            else:
                angle = first * (2 * np.pi / float(self.cycle or 1.0))
                waves = np.column_stack([np.sin(angle), np.cos(angle)])
                return np.rint(waves * self.CYCLE_SCALE) / self.CYCLE_SCALE
        return out.reshape(-1, 1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the derived columns after their kind and inputs."""
        inputs = input_features if input_features is not None else ["x0", "x1"]
        base = f"{self.kind}({','.join(inputs[: self.n_features_in_])})"
        names = [f"{base}_sin", f"{base}_cos"] if self.kind == "cyclical" else [base]
        return np.asarray(names, dtype=object)


class AsFloat32(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Round to float32, the precision in which compiled trees compare, shape unchanged.

    Fitted and served trees then see the same numbers, so no row falls on another side of a split.
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learn nothing."""
        self.n_features_in_ = np.shape(X)[1]
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the values as float32."""
        return np.asarray(X, dtype=np.float32)


def model_frame(
    columns: Mapping[str, Any] | pd.DataFrame, contract: Sequence[ContractColumn]
) -> pd.DataFrame:
    """The contract's columns in order: float64 numbers, text categories, nothing else.

    The same normal form that serving builds from a request: a missing number is NaN, a missing
    category is `MISSING_CATEGORY`. Parts of the event time that are not there yet come from the
    column `event_time`.
    """
    out: dict[str, np.ndarray] = {}
    for column in contract:
        if column.part is not None and column.name not in columns:
            out[column.name] = parts_of_series(columns[EVENT_TIME], column)
            continue
        series = pd.Series(columns[column.name])
        if column.type == "category":
            out[column.name] = _texts(series)
        elif series.dtype == np.float64:
            out[column.name] = series.to_numpy()
        else:
            out[column.name] = (
                pd.to_numeric(series).astype("Float64").to_numpy(dtype=np.float64, na_value=NAN)
            )
    return pd.DataFrame(out)


def _texts(series: pd.Series) -> np.ndarray:
    texts = np.array(series, dtype=object)
    if pd.api.types.infer_dtype(texts, skipna=True) != "string":
        texts = np.array([str(value) for value in texts], dtype=object)
    texts[series.isna().to_numpy()] = MISSING_CATEGORY
    return texts


def as_arrays(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The columns of `model_frame` as serving holds them: float64 or object arrays."""
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def preprocessor(
    family: str,
    contract: Sequence[ContractColumn],
    derived: Sequence[Mapping[str, Any]],
    *,
    is_regression: bool = False,
) -> ColumnTransformer:
    """Encoders for a family of estimators: "linear", "forest" or "boosting".

    A rule of `derived` that `replaces` its columns takes their place.

    Trees get no scaler: a scaler in float32 moves values across split points once the pipeline
    is compiled.
    """
    replaced = {name for rule in derived if rule.get("replaces") for name in rule["columns"]}
    seen = [c for c in contract if c.name not in replaced]
    numbers = [c.name for c in seen if c.type != "category"]
    categories = [c.name for c in seen if c.type == "category"]
    steps: list[tuple[str, Any, list[str]]] = []
    if numbers:
        steps.append(("numbers", _numeric(family), numbers))
    for rule in derived:
        step = _derived(family, rule, is_regression=is_regression)
        steps.append((f"derived_{rule['name']}", step, list(rule["columns"])))
    if categories:
        steps.append(("categories", _categorical(family), categories))
    return ColumnTransformer(steps, sparse_threshold=0.0)


def _derived(family: str, rule: Mapping[str, Any], *, is_regression: bool) -> Any:
    kind, one_hot = rule["kind"], family == "linear"
    if kind == "bins":
        return Bins(tuple(rule.get("edges") or ()), rule.get("quantiles"), one_hot)
    if kind == "frequent":
        return FrequentLevels(rule["min_share"], one_hot)
    if kind == "target_mean":
        # In training each row's mean is of other rows than its own fold's (cross-fitting), of any
        # time within the window: Micci-Barreca 2001; Pargent et al. 2022.
        folds = (KFold if is_regression else StratifiedKFold)(5, shuffle=True, random_state=0)
        target = "continuous" if is_regression else "auto"
        encoder = TargetEncoder(target_type=target, cv=folds)
        return make_pipeline(encoder, StandardScaler()) if family == "linear" else encoder
    derive = DeriveColumns(kind, rule.get("cycle"))
    numeric = _numeric(family)
    return derive if numeric == "passthrough" else make_pipeline(derive, *_steps(numeric))


def pipeline(
    family: str,
    contract: Sequence[ContractColumn],
    derived: Sequence[Mapping[str, Any]],
    estimator: Any,
) -> Pipeline:
    """The whole model: derived columns, encoders and estimator in one object."""
    features = preprocessor(family, contract, derived, is_regression=is_regressor(estimator))
    steps: list[tuple[str, Any]] = [("features", features)]
    if family != "linear":
        steps.append(("float32", AsFloat32()))
    return Pipeline([*steps, ("model", estimator)])


def _numeric(family: str) -> Any:
    if family == "boosting":
        return "passthrough"
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return imputer if family == "forest" else make_pipeline(imputer, StandardScaler())


def _steps(transformer: Any) -> list[Any]:
    if isinstance(transformer, Pipeline):
        return [step for _, step in transformer.steps]
    return [transformer]


def _categorical(family: str) -> Any:
    if family == "linear":
        return OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
