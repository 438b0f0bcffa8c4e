from mlops_assets.domain.card_evidence import calibration, importance, quality, slices
from mlops_assets.domain.class_quality import ClassQuality
from mlops_assets.domain.document import Paragraph, Picture, Table
from mlops_assets.domain.importance import Importance
from mlops_assets.domain.quantile_quality import QuantileQuality
from mlops_assets_tests.domain.cards import facts, interval


def test_metrics_without_a_guess_leave_its_cell_empty():
    (table, *_) = quality(facts(guess={}), {})
    assert isinstance(table, Table)
    assert [row[3] for row in table.rows] == ["", ""]


def test_parts_that_nobody_declared_are_said_to_be_found():
    (_, told) = slices(facts(slices_declared=False))
    assert isinstance(told, Paragraph)
    assert "of every category of few values" in told.text


def test_calibration_without_a_limit_says_so_and_shows_its_picture():
    told, picture = calibration(facts(calibration_limit=None), {"calibration": "curve"})
    assert isinstance(told, Paragraph)
    assert "(no limit is set). It gives class 1 30.0% on average; 29.0% came true." in told.text
    assert picture == Picture("calibration", "curve")


def test_the_probability_that_is_judged_is_that_of_a_class_by_its_name():
    named = tuple(ClassQuality(name, 50, 0.5, 0.5, 1.0, 1.0, 1.0, 0.1) for name in ("no", "yes"))
    told, *_ = calibration(facts(classes=named), {})
    assert isinstance(told, Paragraph)
    assert "It gives class yes 30.0% on average" in told.text


def test_an_input_that_does_harm_is_told_from_one_without_use():
    rises = {"weight": 0.2, "zone": 0.001, "day": -0.3}
    (table, *_) = importance(
        facts(importances=tuple(Importance(name, interval(rise)) for name, rise in rises.items())),
        {},
    )
    assert isinstance(table, Table)
    assert [row[-1] for row in table.rows] == ["", "may be chance", "no help: the loss falls"]


def test_the_metric_that_decides_comes_first():
    (table, *_) = quality(facts(primary_metric="roc_auc"), {})
    assert isinstance(table, Table)
    assert table.rows[0][0] == "area under the ROC curve (decides)"


def test_a_classifier_of_more_than_two_classes_is_told_class_by_class():
    rare = ClassQuality("lost", 12, 0.03, 0.021, 0.5, 0.25, 0.333, 1.25)
    new = ClassQuality("new", 0, 0.0, 0.001, 0.0, 0.0, 0.0, None)
    one = facts(task="multiclass", classes=(rare, new))
    (_, _, table, told) = quality(one, {})
    assert isinstance(table, Table)
    assert table.rows[0] == ("lost", "12", "3.0%", "2.1%", "0.5", "0.25", "0.333", "1.25")
    assert table.rows[1][-1] == ""
    assert isinstance(told, Paragraph)
    assert len(quality(facts(classes=(rare, new)), {})) == 2


def test_a_regression_with_quantiles_shows_their_losses_beside_a_guess():
    one = facts(task="regression", quantiles=(QuantileQuality(0.9, 1.25, 4.5),))
    (_, _, table, _) = quality(one, {})
    assert isinstance(table, Table)
    assert table.rows == (("0.9", "1.25", "4.5"),)
