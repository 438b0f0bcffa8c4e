import sys

import pytest

from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.estimators import ESTIMATORS, estimator_class, missing_package


@pytest.fixture
def without_xgboost(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python's own way to say that a module is not there.
    monkeypatch.setitem(sys.modules, "xgboost", None)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_has_a_form_for_some_task(estimator: str):
    assert missing_package(estimator) == ""
    family = ESTIMATORS[estimator]
    tasks = [task for task in ("binary", "multiclass", "regression") if family.name_for(task)]  # type: ignore[arg-type]
    assert tasks
    for task in tasks:
        found = estimator_class(estimator, task)  # type: ignore[arg-type]
        assert found.__name__ == family.name_for(task)  # type: ignore[arg-type]


def test_a_missing_library_is_named_with_its_install_command(without_xgboost: None):
    told = missing_package("xgboost")
    assert "needs the package xgboost" in told
    assert "pip install 'mlops_assets[boosting]'" in told
    with pytest.raises(NotTrainableError, match=r"mlops_assets\[boosting\]"):
        estimator_class("xgboost", "binary")
    assert missing_package("lightgbm") == ""


def test_an_estimator_for_another_task_is_refused():
    with pytest.raises(ValueError, match="ridge cannot be used for the task 'binary'"):
        estimator_class("ridge", "binary")
