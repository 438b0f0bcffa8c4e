"""The estimators that a spec may name: where their classes are, and what they need installed.

Nothing of them is imported here, so specs can be checked without any of the libraries.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import NotTrainableError

TREES = {
    "sklearn.ensemble": "forest",
    "sklearn.tree": "forest",
    "lightgbm": "boosting",
    "xgboost": "boosting",
}
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")
INSTALL = "pip install 'mlops_assets[boosting]'"


@dataclass(frozen=True)
class Family:
    """How one estimator is built: its encoders, and its class in `module` for each kind of task.

    An empty class name means that the estimator has no form for the task.
    """

    encoders: str
    module: str
    classifier: str
    regressor: str
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def name_for(self, task: Task) -> str:
        """The class name of the estimator's form for a task; may be empty."""
        return self.regressor if task == "regression" else self.classifier


# Both boosting libraries add up histograms in an order of their own on several threads.
ESTIMATORS: Mapping[str, Family] = {
    "logistic_regression": Family(
        "linear", "sklearn.linear_model", "LogisticRegression", "", {"max_iter": 500}
    ),
    "ridge": Family("linear", "sklearn.linear_model", "", "Ridge"),
    "random_forest": Family(
        "forest", "sklearn.ensemble", "RandomForestClassifier", "RandomForestRegressor"
    ),
    "hist_gradient_boosting": Family(
        "boosting",
        "sklearn.ensemble",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    ),
    "lightgbm": Family(
        "boosting",
        "lightgbm",
        "LGBMClassifier",
        "LGBMRegressor",
        {"verbosity": -1, "deterministic": True, "force_row_wise": True},
    ),
    "xgboost": Family("boosting", "xgboost", "XGBClassifier", "XGBRegressor"),
}


def is_import_path(estimator: str) -> bool:
    """Whether it names a class of some package, as package.module:Class or package.module.Class."""
    return IMPORT_PATH.fullmatch(estimator) is not None


def encoders_of(estimator: str, asked: str = "") -> str:
    """The encoders in front of an estimator: those that were asked for, or its own.

    Of a class from elsewhere: those for trees where its package is one of trees, else those that
    every estimator can work with.
    """
    if asked or estimator in ESTIMATORS:
        return asked or ESTIMATORS[estimator].encoders
    found = [encoders for package, encoders in TREES.items() if estimator.startswith(package)]
    return found[0] if found else "linear"


def defaults_of(estimator: str) -> Mapping[str, Any]:
    """Settings that an estimator has where the spec says nothing."""
    return ESTIMATORS[estimator].defaults if estimator in ESTIMATORS else {}


def missing_package(estimator: str) -> str:
    """What to tell a user whose estimator is none, or not installed; empty if all is well.

    Imports nothing, so a path whose package is there may still be wrong (`wrong_settings`).
    """
    if estimator not in ESTIMATORS and not is_import_path(estimator):
        return (
            f"{estimator!r} is no estimator: use {', '.join(ESTIMATORS)}, or an import path as "
            "package.module:Class"
        )
    known = ESTIMATORS.get(estimator)
    library = (known.module if known else estimator).partition(".")[0].partition(":")[0]
    try:
        if find_spec(library) is not None:
            return ""
    except ValueError:
        pass  # a module that says of itself that it is not there
    how = f": {INSTALL}" if known else ""
    return f"{estimator} needs the package {library}, which is not installed{how}"


def estimator_class(estimator: str, task: Task) -> type:
    """Import the class of an estimator.

    Raises ValueError where it has no form for the task, NotTrainableError where its library is
    not installed, or its import path leads to no class.
    """
    problem = missing_package(estimator)
    known = ESTIMATORS.get(estimator)
    if known and not known.name_for(task):
        raise ValueError(f"{estimator} cannot be used for the task {task!r}")
    if problem:
        raise NotTrainableError(problem)
    if known:
        found: type = getattr(import_module(known.module), known.name_for(task))
        return found
    return _class_at(estimator)


def made(estimator: str, task: Task, params: Mapping[str, Any], seed: int) -> Any:
    """An unfitted estimator with these settings; `random_state` is the seed where it has one.

    Raises NotTrainableError, with what to change, where the task cannot be learned with it,
    TypeError or ValueError for settings that it does not have.
    """
    kind = estimator_class(estimator, task)
    settings = {**defaults_of(estimator), **params}
    if "random_state" in signature(kind).parameters or "random_state" in _names(kind):
        settings["random_state"] = seed
    model = kind(**settings)
    if estimator in ESTIMATORS:
        return model
    _refuse(estimator, task, model)
    return model


def _refuse(estimator: str, task: Task, model: Any) -> None:
    from sklearn.base import is_classifier, is_regressor

    lacking = [name for name in ("fit", "predict", "get_params") if not hasattr(model, name)]
    if lacking:
        raise NotTrainableError(
            f"{estimator} has no {lacking[0]}: an estimator is a class as scikit-learn describes it"
        )
    if task == "regression" and is_classifier(model):
        raise NotTrainableError(f"{estimator} is a classifier, and the task is {task}")
    if task != "regression":
        if is_regressor(model):
            raise NotTrainableError(f"{estimator} is a regressor, and the task is {task}")
        if not hasattr(model, "predict_proba"):
            raise NotTrainableError(
                f"{estimator} tells no probabilities (it has no predict_proba with these params), "
                "which drift, performance and decisions are made of: choose another, or settings "
                "with which it does"
            )


def wrong_settings(
    estimator: str, task: Task, params: Mapping[str, Any], searched: Collection[str]
) -> str:
    """What is wrong with an estimator and its settings, found by importing it; may be empty.

    `searched` names the settings that a grid or a space varies.
    """
    try:
        model = made(estimator, task, params, seed=0)
    except (NotTrainableError, TypeError, ValueError) as error:
        return f"{estimator} cannot be used: {error}"
    names = sorted(model.get_params(deep=False))
    unknown = [name for name in searched if names and name not in names]
    # LightGBM and XGBoost take more settings than their classes name.
    if unknown and estimator not in ("lightgbm", "xgboost"):
        return f"{estimator} has no setting {unknown[0]!r}; it has {', '.join(names)}"
    return ""


def _class_at(path: str) -> type:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise NotTrainableError(f"{path} cannot be imported: {error}") from error
    except Exception as error:  # a module of the user's may raise anything
        raise NotTrainableError(f"{path} cannot be imported: {error!r}") from error
    if not isinstance(found, type):
        raise NotTrainableError(f"{path} is no class, but {type(found).__name__}")
    return found


def _names(kind: type) -> Collection[str]:
    """The settings of a class that takes some of them as **kwargs, as XGBoost's do."""
    try:
        return list(kind().get_params())
    except (AttributeError, TypeError, ValueError):
        return ()
