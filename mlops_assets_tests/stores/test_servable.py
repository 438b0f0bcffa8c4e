from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.training import Trial, fit, outputs_of
from mlops_assets.stores.servable import (
    stored,
    untrusted_types,
    why_not_compiled,
    why_not_servable,
)
from mlops_assets_tests.stores.test_onnx_export import run

COLUMNS = (
    ContractColumn("n", "number", nullable=True),
    ContractColumn("c", "category", nullable=True),
)
CONTRACT = Contract("m", "binary", COLUMNS, ("0", "1"), "id", "at", 100)
OWN = "mlops_assets_tests.own_estimators:Frequencies"


def fitted(estimator: str, **params: Any) -> Any:
    frame, y = rows()
    return fit(Trial("t", estimator, params), CONTRACT, [], frame, y, seed=0)


def rows() -> tuple[Any, np.ndarray]:
    draw = np.random.default_rng(0)
    n = draw.normal(size=200)
    frame = model_frame({"n": n, "c": draw.choice(["x", "y", None], 200)}, COLUMNS)
    return frame, (n + draw.normal(0, 0.3, 200) > 0).astype(int)


@pytest.mark.parametrize(
    "estimator",
    [
        "sklearn.naive_bayes:GaussianNB",
        "sklearn.ensemble:ExtraTreesClassifier",
        "sklearn.ensemble:AdaBoostClassifier",
        "sklearn.neighbors:KNeighborsClassifier",
    ],
)
def test_estimators_from_elsewhere_compile_to_what_they_say(estimator: str):
    model = fitted(estimator)
    graph, refused = why_not_compiled(model, CONTRACT)
    assert refused == ""
    frame, _ = rows()
    expected = outputs_of(model, frame, "binary")
    assert np.abs(run(graph, as_arrays(frame)) - expected).max() < 1e-5
    assert why_not_servable(model, CONTRACT) == ""


def test_what_does_not_compile_is_served_by_skops_if_its_types_are_trusted():
    model = fitted("sklearn.dummy:DummyClassifier", strategy="prior")
    graph, refused = why_not_compiled(model, CONTRACT)
    assert graph == b""
    assert "does not convert" in refused
    assert untrusted_types(stored(model)) == ()
    assert why_not_servable(model, CONTRACT) == ""


def test_what_nothing_can_serve_is_told_with_its_types():
    told = why_not_servable(fitted(OWN), CONTRACT)
    assert "does not convert" in told
    assert "does not trust mlops_assets_tests.own_estimators.Frequencies" in told


def test_an_estimator_that_cannot_weigh_rows_is_refused_where_rows_have_weights():
    frame, y = rows()
    trial = Trial("t", OWN, {})
    with pytest.raises(NotTrainableError, match="cannot weigh rows"):
        fit(trial, CONTRACT, [], frame, y, seed=0, weights=np.ones(len(y)))
    with pytest.raises(NotTrainableError, match="cannot weigh rows"):
        fit(trial, CONTRACT, [], frame, y, seed=0, balanced=True)
