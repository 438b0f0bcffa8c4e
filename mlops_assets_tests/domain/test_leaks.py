import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mlops_assets.domain.leaks import _auc, find_leaks, single_score
from mlops_assets_tests.churn import churn


def leaks(frame: pd.DataFrame, label: str, task: str = "binary", target: object = None):
    truth = frame[label]
    return find_leaks(
        frame.drop(columns=label),
        truth,
        truth if target is None else target,
        task,  # type: ignore[arg-type]
    )


def numbers(rows: int = 2000):
    draw = np.random.default_rng(0)
    return pd.DataFrame({name: draw.normal(size=rows) for name in "abc"})


def test_what_is_known_only_afterwards_predicts_too_well_and_is_found():
    names = ["customer_id", "age", "plan", "usage_hours", "tickets", "note", "refund", "left"]
    found = leaks(churn(8)[names], "left")
    assert set(found) == {"refund"}
    assert found["refund"].certain
    assert "predicts the label of later rows by itself (AUC 1.000)" in found["refund"].reason


def test_a_good_but_honest_feature_is_no_leak():
    frame = numbers()
    label = np.where(frame["a"] + frame["b"] > 0, "1", "0")
    assert not leaks(frame.assign(y=label), "y")
    assert 0.8 < single_score(frame["a"], pd.Series(label), "binary") < 0.9


def test_a_level_per_row_learns_nothing_and_is_no_leak():
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(500)], "y": ["0", "1"] * 250})
    assert not leaks(frame, "y")


def test_two_columns_that_add_up_to_the_label_are_proof():
    frame = numbers().assign(d=lambda f: f["a"] + f["b"])
    found = leaks(frame, "d", "regression")
    assert {"a", "b"} == set(found)
    assert all(leak.proven for leak in found.values())
    assert found["a"].reason == "a + b is d in every row"


def test_a_difference_is_proof_too():
    found = leaks(numbers().assign(d=lambda f: f["b"] - f["c"]), "d", "regression")
    assert found["b"].reason == "b - c is d in every row"


def test_a_scaled_copy_of_the_label_is_a_leak_of_a_regression():
    frame = numbers().assign(y=lambda f: f["a"] * 3 + 1)
    found = leaks(frame, "y", "regression")
    assert found["a"].certain
    assert "R2" in found["a"].reason


def test_missing_in_the_same_rows_as_the_label_is_known_only_afterwards():
    frame = numbers().assign(y=lambda f: f["b"])
    frame.loc[::10, ["a", "y"]] = np.nan
    found = leaks(frame[["a", "c", "y"]], "y", "regression")
    assert set(found) == {"a"}
    assert "missing exactly where the label is" in found["a"].reason


def visits(rows: int = 2000, positive: float = 0.2) -> pd.DataFrame:
    """A column that most of the rows of class 1 have, and another one that has nothing to say."""
    draw = np.random.default_rng(0)
    label = np.where(draw.random(rows) < positive, "yes", "no")
    why = np.where((label == "yes") & (draw.random(rows) < 0.7), "ill", None)
    return pd.DataFrame({"why": why, "some": np.where(draw.random(rows) < 0.1, 1, np.nan)}).assign(
        y=label
    )


def test_what_is_filled_in_for_one_class_alone_is_known_only_afterwards():
    found = leaks(visits(), "y")
    assert set(found) == {"why"}
    assert found["why"].certain
    assert found["why"].reason == "filled in only where the label is 'yes': known only afterwards"


def test_what_is_missing_for_one_class_alone_is_told_too():
    frame = visits().assign(paid=lambda f: np.where(f["why"].isna(), 3.0, np.nan))
    assert (
        "missing only where the label is 'yes'" in leaks(frame[["paid", "y"]], "y")["paid"].reason
    )


def test_a_few_values_beside_a_frequent_class_prove_nothing():
    frame = visits(positive=0.01)
    assert not leaks(frame.assign(why=np.where(np.arange(2000) < 30, "x", None)), "y")


def test_too_few_rows_tell_nothing():
    assert (
        single_score(pd.Series(range(50)), pd.Series(range(50), dtype=float), "regression") is None
    )


def test_one_class_in_the_later_rows_tells_nothing():
    target = pd.Series(["0", "1"] * 70 + ["0"] * 60)
    assert single_score(pd.Series(range(200)), target, "binary") is None


@pytest.mark.parametrize("seed", range(5))
def test_the_area_under_the_curve_is_scikit_learns(seed: int):
    draw = np.random.default_rng(seed)
    scores, positive = draw.integers(0, 5, 200).astype(float), draw.random(200) < 0.3
    assert _auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
