import sys

import pytest

from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.estimators import (
    ESTIMATORS,
    encoders_of,
    estimator_class,
    is_import_path,
    made,
    missing_package,
    wrong_settings,
)

OWN = "mlops_assets_tests.own_estimators"


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


def test_an_import_path_names_a_module_and_a_class():
    assert is_import_path("sklearn.naive_bayes:GaussianNB")
    assert is_import_path("my_package.GaussianNB")
    assert not is_import_path("ridge")
    assert not is_import_path("os; rm:x")
    assert encoders_of("my_package:Own") == "linear"
    assert encoders_of("my_package:Own", "boosting") == "boosting"
    assert encoders_of("random_forest") == "forest"
    assert encoders_of("sklearn.ensemble:ExtraTreesClassifier") == "forest"


def test_what_is_no_estimator_is_told_without_importing_anything():
    assert missing_package("random_forrest").startswith("'random_forrest' is no estimator: use log")
    assert missing_package("no_such_package.models:Best") == (
        "no_such_package.models:Best needs the package no_such_package, which is not installed"
    )
    assert missing_package(f"{OWN}:NoSuchClass") == ""


@pytest.mark.parametrize(
    "path", ["sklearn.naive_bayes:GaussianNB", "sklearn.naive_bayes.GaussianNB"]
)
def test_a_class_is_made_from_its_path(path: str):
    found = made(path, "binary", {"var_smoothing": 0.1}, seed=3)
    assert type(found).__name__ == "GaussianNB"
    assert found.var_smoothing == 0.1
    assert made("sklearn.svm:SVC", "binary", {"probability": True}, seed=3).random_state == 3


@pytest.mark.parametrize(
    ("path", "task", "words"),
    [
        (f"{OWN}:Missing", "binary", "cannot be imported: .*no attribute 'Missing'"),
        ("mlops_assets_tests.no_such:Own", "binary", "cannot be imported: No module"),
        (f"{OWN}:NUMBER", "binary", "is no class, but int"),
        (f"{OWN}:NoEstimator", "binary", "has no fit"),
        ("sklearn.svm:SVC", "binary", "tells no probabilities"),
        ("sklearn.svm:SVR", "multiclass", "is a regressor, and the task is multiclass"),
        ("sklearn.naive_bayes:GaussianNB", "regression", "is a classifier, and the task"),
    ],
)
def test_a_class_that_does_not_do_is_refused_with_the_reason(path: str, task: str, words: str):
    with pytest.raises(NotTrainableError, match=words):
        made(path, task, {}, seed=0)  # type: ignore[arg-type]


def test_settings_are_tried_before_anything_is_trained():
    path = "sklearn.naive_bayes:GaussianNB"
    assert wrong_settings(path, "binary", {}, {"var_smoothing"}) == ""
    assert wrong_settings("random_forest", "binary", {"max_depth": 3}, {"n_estimators"}) == ""
    told = wrong_settings(path, "binary", {}, {"smoothing"})
    assert told == f"{path} has no setting 'smoothing'; it has priors, var_smoothing"
    told = wrong_settings("random_forest", "binary", {"max_dept": 3}, ())
    assert "cannot be used" in told
    assert "max_dept" in told
    assert wrong_settings("xgboost", "binary", {"n_estimators": 3}, {"max_depth"}) == ""
