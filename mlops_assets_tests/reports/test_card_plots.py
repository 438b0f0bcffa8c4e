from mlops_assets.domain.evaluation import Interval
from mlops_assets.domain.importance import Importance
from mlops_assets.reports.canvas import BLUE, GREY
from mlops_assets.reports.plots import importance, png
from mlops_assets_tests.reports.pictures import assert_has_content, share_of

SURE = Importance("a $hostile$ name", Interval(0.3, 0.2, 0.4))
CHANCE = Importance("idle", Interval(0.1, -0.1, 0.3))


def test_what_surely_matters_is_blue_and_what_may_be_chance_is_grey():
    picture = png(importance([SURE, CHANCE], "log loss"))
    assert_has_content(picture)
    assert share_of(picture, BLUE) > share_of(picture, GREY) > 0.005
    assert share_of(png(importance([SURE], "log loss")), GREY) < 0.005


def test_the_smallest_of_many_inputs_are_counted_only():
    figure = importance([SURE] * 40, "log loss")
    assert "15 smaller ones not shown" in figure.axes[0].get_xlabel()


def test_without_inputs_the_picture_says_so():
    assert importance([], "log loss").axes[0].texts[0].get_text() == "The model has no inputs"
