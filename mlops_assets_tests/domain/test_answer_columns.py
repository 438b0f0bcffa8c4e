import numpy as np

from mlops_assets.domain.answer_columns import PREDICTED, SCORE, answer_columns, score_columns


def test_the_score_of_two_classes_is_the_probability_of_class_1():
    assert score_columns(np.array([[0.2, 0.8]]))[SCORE].tolist() == [0.8]
    assert score_columns(np.array([[7.5]]))[SCORE].tolist() == [7.5]


def test_several_classes_have_one_score_column_each():
    outputs = np.array([[0.2, 0.5, 0.3]])
    assert list(score_columns(outputs, ("low", "mid", "high"))) == ["p(low)", "p(mid)", "p(high)"]
    assert list(score_columns(outputs)) == ["p(0)", "p(1)", "p(2)"]


def test_the_predicted_class_is_the_likeliest_and_the_lower_one_of_equals():
    outputs = np.array([[0.2, 0.8], [0.5, 0.5], [0.51, 0.49]])
    assert answer_columns(outputs, ("no", "yes"))[PREDICTED].tolist() == ["yes", "no", "no"]
    assert answer_columns(outputs)[PREDICTED].tolist() == ["1", "0", "0"]


def test_a_regression_predicts_no_class():
    assert set(answer_columns(np.array([[7.5]]))) == {SCORE}
