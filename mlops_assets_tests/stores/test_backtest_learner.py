import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.domain.backtest import Training
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.hindsight import trainings
from mlops_assets.domain.training import Trial
from mlops_assets.stores import backtest_moments, scouts
from mlops_assets.stores.backtest_cache import BacktestCache
from mlops_assets.stores.backtest_history import read_past
from mlops_assets.stores.backtest_learner import PastLearner
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.backtested import ingest, rides
from mlops_assets_tests.loop import (
    ROWS_PER_DAY,
    History,
    Loop,
    add_parcels,
    parcels,
    read_model,
    utc,
)


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> PastLearner:
    root = tmp_path_factory.mktemp("learner")
    settings, model = rides(root, "2011-12-01")
    lake = Lake(settings.lake_root)
    past = read_past(model, lake, lake.periods("rides", "features"))
    return PastLearner(model, past, BacktestCache.of(root / "cache", model, past.content))


def test_the_first_version_is_the_one_that_operation_released(
    loop: Loop, bikes: History, tmp_path: Path
):
    stores, model = loop.stores, loop.model("bike_demand")
    version = stores.registry.version("bike_demand", "1")
    bundle = stores.registry.cached_bundle("bike_demand", version.version, stores.bundles)
    evidence = json.loads((bundle / "evidence.json").read_bytes())
    past = read_past(model, stores.lake, stores.lake.periods("bike_demand", "features")[:7])
    cache = BacktestCache.of(tmp_path, model, past.content)
    ours = PastLearner(model, past, cache, trial=Trial(**evidence["trial"]))
    first = ours.oldest
    assert list(past.periods[: first.end]) == (
        evidence["split"]["train"] + evidence["split"]["validation"]
    )
    losses = ours.losses(first, first.end, first.end + ours.holdout)
    assert len(losses) == evidence["loss"]["rows"]
    assert losses.mean() == pytest.approx(evidence["loss"]["mean"], rel=1e-4)
    assert losses.std(ddof=1) == pytest.approx(evidence["loss"]["std"], rel=1e-4)


def test_the_search_chooses_on_the_first_periods_and_is_made_once(learner: PastLearner):
    assert learner.trial.estimator == "ridge"
    assert learner.trial.params["alpha"] == 1.0
    again = PastLearner(learner.model, learner.past, learner._cache)
    assert again._cache.trial() == learner.trial


def test_a_window_of_the_newest_periods_is_trained_on(learner: PastLearner):
    rows = learner.rows
    assert learner.training_rows(Training(8)) == sum(rows[:8])
    assert learner.training_rows(Training(8, 3)) == sum(rows[5:8])
    assert learner.loss(Training(8, 3), 9) != learner.loss(Training(8), 9)


def test_losses_are_those_of_the_pipeline_on_the_periods_rows(learner: PastLearner):
    training, place = Training(6), learner.past.place(8, 9)
    begin = learner.past.starts[6]
    outputs = learner.scored(training).outputs[place.start - begin : place.stop - begin]
    y = learner.past.label.iloc[place].to_numpy(dtype=float)
    expected = row_losses("regression", y, outputs.astype(float)).mean()
    assert learner.loss(training, 8) == pytest.approx(expected)


def test_reports_compare_with_the_rows_left_to_the_gates(learner: PastLearner):
    training = Training(5)
    found = learner.report(training, 7)
    assert found.reference_loss == pytest.approx(learner.loss(training, 5))
    assert found.loss == pytest.approx(learner.loss(training, 7))
    # Half a year later the season is another one: inputs differ surely.
    assert found.drift_judged
    assert {"temp", "season"} & set(learner.report(training, 10).drift_flagged)


def test_the_gates_refuse_what_is_surely_worse(learner: PastLearner):
    worst = Training(2)
    assert learner.refusal(Training(9), Training(9)) == ""
    assert learner.refusal(Training(9), worst) == ""
    # A month and its successor of the autumn, against all there is.
    told = learner.refusal(Training(9, 1), Training(9))
    assert "above the margin" in told
    assert learner.worse(worst, Training(8), 9)
    assert not learner.worse(Training(8), worst, 9)


@pytest.mark.parametrize("most", [5_000, 100])
def test_scouts_see_what_they_see_in_operation(
    learner: PastLearner, most: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for module in (scouts, backtest_moments):
        monkeypatch.setattr(module, "MOST_ROWS", most)
    lake = Lake(str(tmp_path))
    ingest(learner.model, lake, "2011-12-01")
    until = learner.periods[-1]
    kept = scouts.labelled_history(learner.model, lake, until, utc("2012-06-01"))
    assert kept is not None
    found = backtest_moments.period_moments(learner.model, learner.past, learner.oldest.end)
    assert [part.rows for part in found] == [min(rows, most) for rows in learner.rows]
    for ours, theirs in zip(found, kept.moments, strict=True):
        np.testing.assert_allclose(ours.gram, theirs.gram)
        np.testing.assert_allclose(ours.cross, theirs.cross)


def test_the_default_price_is_a_tenth_of_a_periods_loss(learner: PastLearner):
    first = learner.oldest
    expected = 0.1 * learner.loss(first, first.end) * learner.rows[first.end]
    assert learner.default_price == pytest.approx(expected)


def test_the_first_version_knows_no_labels_that_are_still_to_come(learner: PastLearner):
    late = PastLearner(learner.model, learner.past, learner._cache, delay=2)
    assert (late.first, late.oldest) == (learner.first + 2, learner.oldest)


def test_a_specs_window_holds_for_the_first_version_and_for_always(learner: PastLearner):
    training = learner.model.spec.training
    window = training.window.model_copy(update={"last": 3})
    spec = learner.model.spec.model_copy(
        update={"training": training.model_copy(update={"window": window})}
    )
    short = PastLearner(replace(learner.model, spec=spec), learner.past, learner._cache)
    assert short.oldest == Training(learner.oldest.end, 3)
    assert {one.window for one in trainings(short, 0)} == {3}


def test_too_short_a_past_is_refused_with_the_numbers(tmp_path: Path):
    settings, model = rides(tmp_path, "2011-04-01")
    lake = Lake(settings.lake_root)
    past = read_past(model, lake, lake.periods("rides", "features"))
    with pytest.raises(NotTrainableError, match="3 periods have labels"):
        PastLearner(model, past, BacktestCache.of(tmp_path, model, past.content))


def test_a_classifier_has_classes_coverage_and_accuracy(tmp_path: Path):
    model = read_model(add_parcels(tmp_path / "models", "parcels", days=16))
    lake = Lake(str(tmp_path / "lake"))
    ingest(model, lake, "2026-01-17")
    past = read_past(model, lake, lake.periods("parcels", "features"))
    learner = PastLearner(model, past, BacktestCache.of(tmp_path, model, past.content))
    first = learner.oldest
    assert learner.scored(first).classes == ("0", "1")
    quiet, harmed = learner.report(first, 8), learner.report(first, 14)
    assert (quiet.harmed, harmed.harmed) == (False, True)
    assert quiet.accuracy is not None
    assert harmed.accuracy is not None
    assert quiet.accuracy > harmed.accuracy
    # One in fifty parcels is lost: its label never comes, and that is no alarm.
    assert quiet.performance_judged
    assert learner.past.labelled[8] < quiet.rows == learner.rows[8] == 150
    assert learner.training_rows(Training(8)) == sum(learner.past.labelled[:8])


def test_a_slow_rise_of_the_loss_is_found_from_the_periods_served_before(tmp_path: Path):
    rows = parcels(30, shifted=range(100, 101), rows=ROWS_PER_DAY)
    # From the eighth day on, three in a hundred more each day are told to be late.
    draw = np.random.default_rng(5)
    day = np.repeat(np.arange(30), ROWS_PER_DAY)
    hours = rows["hours"].to_pandas()
    flipped = draw.random(len(day)) < 0.01 * np.maximum(day - 8, 0)
    hours = hours.where(~flipped, hours.map(lambda h: 30.0 if h <= 24 else 10.0))
    place = rows.schema.get_field_index("hours")
    rows = rows.set_column(place, "hours", pa.array(hours, pa.float64(), from_pandas=True))
    model = read_model(add_parcels(tmp_path / "models", "parcels", rows))
    lake = Lake(str(tmp_path / "lake"))
    ingest(model, lake, "2026-01-31")
    past = read_past(model, lake, lake.periods("parcels", "features"))
    learner = PastLearner(model, past, BacktestCache.of(tmp_path, model, past.content))
    first = learner.oldest
    found = [learner.report(first, period) for period in range(learner.first, 30)]
    decaying = [place for place, one in enumerate(found) if one.decay_periods]
    assert decaying
    assert decaying[0] > 3
    assert found[0].decay_periods == 0
    assert found[decaying[0]].decay_periods > 1
