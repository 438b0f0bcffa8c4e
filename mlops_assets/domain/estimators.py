"""The estimators that a spec may name: where their classes are, and what they need installed.

Nothing of them is imported here, so specs can be checked without any of the libraries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import NotTrainableError

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


def missing_package(estimator: str) -> str:
    """What to tell a user whose estimator's library is not installed; empty if it is."""
    library = ESTIMATORS[estimator].module.partition(".")[0]
    if find_spec(library) is not None:
        return ""
    return f"{estimator} needs the package {library}, which is not installed: {INSTALL}"


def estimator_class(estimator: str, task: Task) -> type:
    """Import the class of an estimator.

    Raises ValueError where it has no form for the task, NotTrainableError where its library is
    not installed.
    """
    family = ESTIMATORS[estimator]
    name = family.name_for(task)
    if not name:
        raise ValueError(f"{estimator} cannot be used for the task {task!r}")
    problem = missing_package(estimator)
    if problem:
        raise NotTrainableError(problem)
    found: type = getattr(import_module(family.module), name)
    return found
