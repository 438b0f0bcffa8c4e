from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.domain.backtest import Reported, Training
from mlops_assets.domain.training import Trial
from mlops_assets.spec import Model
from mlops_assets.stores.backtest_cache import BacktestCache, Scored
from mlops_assets_tests.loop import add_model, read_model, shipped

REPORT = Reported(120, 0.4, 0.3, True, True, 0.9, True, ("speed", "zone"))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return read_model(add_model(tmp_path / "models", "rides", shipped("bike_demand")))


def changed(model: Model, part: str, **fields: object) -> Model:
    section = getattr(model.spec, part).model_copy(update=fields)
    return replace(model, spec=model.spec.model_copy(update={part: section}))


def test_what_was_kept_is_found_again(tmp_path: Path, model: Model):
    cache = BacktestCache.of(tmp_path, model, "rows")
    training, window = Training(7), Training(7, 4)
    scored = Scored(("no", "yes"), np.array([[0.25, 0.75]], dtype=np.float32))
    trial = Trial("ridge alpha=1", "ridge", {"alpha": 1.0})
    assert cache.scored(training) is cache.report(training, "p", 0) is cache.trial() is None
    cache.keep_scored(training, scored)
    cache.keep_report(training, "2011-08-01", 2, REPORT)
    cache.keep_trial(trial)
    again = BacktestCache.of(tmp_path, model, "rows")
    found = again.scored(training)
    assert found is not None
    assert found.classes == scored.classes
    np.testing.assert_array_equal(found.outputs, scored.outputs)
    assert again.report(training, "2011-08-01", 2) == REPORT
    assert again.trial() == trial
    assert again.scored(window) is again.report(window, "2011-08-01", 2) is None
    assert again.report(training, "2011-08-01", 0) is None


def test_a_regression_has_no_classes(tmp_path: Path, model: Model):
    cache = BacktestCache.of(tmp_path, model, "rows")
    cache.keep_scored(Training(3), Scored((), np.ones((2, 1), dtype=np.float32)))
    found = cache.scored(Training(3))
    assert found is not None
    assert found.classes == ()


def test_prices_and_policies_do_not_ask_for_new_versions(tmp_path: Path, model: Model):
    folder = BacktestCache.of(tmp_path, model, "rows").folder
    other = changed(model, "retraining", cooldown=7, policy="schedule")
    assert BacktestCache.of(tmp_path, other, "rows").folder == folder


def test_other_rows_training_or_tests_do(tmp_path: Path, model: Model):
    specs = [model, changed(model, "training", seed=1), changed(model, "monitoring", min_rows=9)]
    folders = {BacktestCache.of(tmp_path, one, "rows").folder for one in specs}
    folders.add(BacktestCache.of(tmp_path, model, "other rows").folder)
    assert len(folders) == 4


def test_nothing_is_pickled(tmp_path: Path, model: Model):
    cache = BacktestCache.of(tmp_path, model, "rows")
    evil = np.array([{"a": 1}], dtype=object)
    path = cache.folder / "0003-all.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, classes=np.array(["a"]), outputs=evil, allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        cache.scored(Training(3))
