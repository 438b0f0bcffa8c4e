"""A multiclass model on real flights, from the rows to the decision, and a class that is new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, precision_recall_fscore_support

from mlops_assets.domain.evaluation import PROBABILITY_FLOOR
from mlops_assets.stores import monitoring
from mlops_assets.stores.bundles import load_scorer
from mlops_assets_tests.delays import CLASSES, NEW_CLASS, NEW_FROM
from mlops_assets_tests.loop import History, Loop, checks, errors

NOW, WITH_NEW = "2013-07-09", (*CLASSES[:3], NEW_CLASS, CLASSES[3])


@dataclass(frozen=True)
class Day:
    """A served and closed day."""

    answers: Sequence[Mapping[str, Any]]
    predictions: pd.DataFrame
    report: Mapping[str, Any]
    shown: Mapping[str, Any]


@pytest.fixture(scope="module")
def delays(loop: Loop) -> History:
    """Eight days of flights in four classes, one version."""
    return loop.history("delays", NOW, "2013-07-01", "2013-07-08")


@pytest.fixture(scope="module")
def day(loop: Loop, delays: History) -> Day:
    """The first day that was served, on which a class appeared that nothing knew."""
    return served_day(loop, NOW, "2013-07-11")


@pytest.fixture(scope="module")
def retrained(loop: Loop, day: Day) -> Any:
    """The training after it, which knows the new class."""
    loop.at("2013-07-13")
    assert loop.run("delays__ingest", "2013-07-09", "2013-07-11").success
    result = loop.run("delays__train")
    assert result.success, errors(result)
    return result


def served_day(loop: Loop, period: str, now: str) -> Day:
    answers = loop.serve("delays", period, loop.requests("delays", period))["predictions"]
    loop.at(now)
    result = loop.run("delays__close", period)
    assert result.success, errors(result)
    lake = loop.stores.lake
    return Day(
        answers,
        monitoring.predictions_of(loop.model("delays"), lake, period),
        monitoring.kept(lake, "delays", "performance_reports")[period],
        loop.materialization("delays", "performance_report", period).metadata,
    )


def truth(loop: Loop, rows: pd.DataFrame, now: str) -> np.ndarray:
    """The class of each prediction, None where it was not known yet."""
    source = pq.read_table(loop.models / "delays" / "rows.parquet").to_pandas()
    source = source.set_index(source["flight_id"].astype(str)).loc[rows["entity"]]
    known = source["arrived_at"] <= pd.Timestamp(now, tz="UTC")
    return np.asarray(source["delay"].where(known, None).to_numpy(dtype=object))


def test_a_multiclass_model_passes_its_gates_and_compiles(loop: Loop, delays: History):
    shown = loop.materialization("delays", "challenger").metadata
    assert shown["runtime"].value == "onnx"
    found = checks(delays.train)
    assert all(check.passed for check in found.values())
    assert "expected calibration error" in str(found["calibrated"].description)
    records = shown["classes"].records
    assert [record.data["class"] for record in records] == list(CLASSES)
    rows = sum(int(record.data["rows"]) for record in records)
    assert rows == shown["rows"].value["holdout"]
    card = loop.materialization("delays", "model_card").metadata["model_card"].value
    for record in records:
        assert f"| {record.data['class']} | {int(record.data['rows']):,} |" in card
    bundle = loop.stores.registry.cached_bundle("delays", "1", loop.stores.bundles)
    assert load_scorer(bundle).contract.classes == CLASSES


def test_answers_tell_the_likeliest_class_and_every_probability(day: Day):
    for answer in day.answers:
        told = answer["probability"]
        assert tuple(told) == CLASSES
        assert sum(told.values()) == pytest.approx(1, abs=1e-5)
        assert answer["prediction"] == max(told, key=lambda name: told[name])
    logged = day.predictions.set_index("prediction_id")
    assert len(logged) == len(day.answers) > 250
    for answer in day.answers[:20]:
        row = logged.loc[answer["prediction_id"]]
        assert row["prediction"] == answer["prediction"]
        for name in CLASSES:
            assert row[f"p_{name}"] == pytest.approx(answer["probability"][name])


def test_quality_is_told_by_class_and_a_class_that_is_new_costs_all_it_can(loop: Loop, day: Day):
    names = truth(loop, day.predictions, "2013-07-11")
    labelled = np.array([name is not None for name in names])
    outputs = day.predictions[[f"p_{name}" for name in CLASSES]].to_numpy()[labelled]
    names = names[labelled]
    is_new = names == NEW_CLASS
    assert 0 < is_new.sum() < len(names)
    y = np.array([CLASSES.index(name) for name in names[~is_new]])
    known = log_loss(y, outputs[~is_new] / outputs[~is_new].sum(axis=1, keepdims=True))
    expected = (known * len(y) - np.log(PROBABILITY_FLOOR) * is_new.sum()) / len(names)
    assert day.report["loss"] == pytest.approx(expected, rel=1e-5)
    told = outputs.argmax(axis=1)
    every = np.array([-1 if name == NEW_CLASS else CLASSES.index(name) for name in names])
    reference = precision_recall_fscore_support(
        every, told, labels=range(len(CLASSES)), zero_division=0
    )
    for place, one in enumerate(day.report["classes"]):
        assert one["name"] == CLASSES[place]
        found = (one["precision"], one["recall"], one["f1"], one["rows"])
        assert found == pytest.approx([column[place] for column in reference])
    assert len(day.shown["classes"].records) == len(CLASSES)


def test_drift_is_looked_for_in_every_probability_and_in_the_predicted_class(loop: Loop, day: Day):
    kept = monitoring.kept(loop.stores.lake, "delays", "drift_reports")[NOW]
    columns = {test["column"] for test in kept["columns"]}
    assert {f"p({name})" for name in CLASSES} <= columns
    assert "predicted class" in columns


def test_proven_harm_asks_for_a_retrain(loop: Loop, day: Day):
    shown = loop.materialization("delays", "retrain_decision", NOW).metadata
    assert day.report["harmed"]
    assert shown["action"].value == "retrain"
    assert f"loss {day.report['loss']:.4f}" in str(shown["reasons"].value)


def test_a_version_with_a_new_class_is_compared_with_the_champion_that_lacks_it(
    loop: Loop, retrained: Any
):
    version = loop.alias("delays")
    bundle = loop.stores.registry.cached_bundle("delays", version, loop.stores.bundles)
    assert load_scorer(bundle).contract.classes == WITH_NEW
    gate = checks(retrained)["not_worse_than_champion"]
    assert gate.passed
    # Whoever does not know a class is sure that it does not happen.
    assert gate.metadata["champion_loss"].value > 1.5
    assert gate.metadata["upper"].value < 0


def test_predictions_of_both_versions_live_in_one_table(loop: Loop, retrained: Any):
    day = served_day(loop, "2013-07-12", "2013-07-14")
    assert {len(answer["probability"]) for answer in day.answers} == {len(WITH_NEW)}
    assert day.predictions[f"p_{NEW_CLASS}"].notna().all()
    before = monitoring.predictions_of(loop.model("delays"), loop.stores.lake, NEW_FROM)
    assert before[f"p_{NEW_CLASS}"].isna().all()
    assert [one["name"] for one in day.report["classes"]] == list(WITH_NEW)
    assert day.report["previous_loss"] > day.report["loss"]
