import numpy as np
import pandas as pd
import pytest

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn, Task
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.trainable import MOST_LEVELS, refuse_untrainable

LINEAR = ["logistic_regression"]


def contract(task: Task = "binary", classes: tuple[str, ...] = ("0", "1")) -> Contract:
    columns = (ContractColumn("n", "number", True), ContractColumn("c", "category", True))
    return Contract("m", task, columns, classes, "id", "at", 10)


def rows(count: int = 10, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"n": np.arange(float(count)), "c": ["a"] * count} | columns)


def refuse(
    frame: pd.DataFrame,
    y: object = None,
    *,
    linear=LINEAR,
    replaced=(),
    **changes: object,
) -> None:
    truth = np.arange(len(frame)) % 2 if y is None else np.asarray(y)
    refuse_untrainable(frame, truth, contract(**changes), linear, replaced)  # type: ignore[arg-type]


def test_rows_that_teach_something_pass():
    refuse(rows())
    refuse(rows(n=[np.nan] * 9 + [1.0], c=[MISSING_CATEGORY] * 9 + ["a"]))
    refuse(rows(), np.full(10, 3.5), task="regression", classes=())


@pytest.mark.parametrize("y", [[0] * 10, [-1] * 10, [-1, 1] * 5])
def test_one_class_is_refused(y):
    with pytest.raises(NotTrainableError, match=r"one class, .*label\.above"):
        refuse(rows(), y)


def test_classes_that_differ_only_in_case_are_refused():
    with pytest.raises(NotTrainableError, match="'No' and 'no' of the label differ only in case"):
        refuse(rows(), classes=("No", "no"))


def test_three_classes_of_a_binary_label_are_refused():
    with pytest.raises(NotTrainableError, match=r"3 classes \('a', 'b', 'c'\)"):
        refuse(rows(), classes=("a", "b", "c"))
    refuse(rows(), task="multiclass", classes=("a", "b", "c"))


@pytest.mark.parametrize("empty", [{"n": np.nan}, {"c": MISSING_CATEGORY}])
def test_a_column_with_nothing_in_it_is_refused_by_name(empty):
    with pytest.raises(NotTrainableError, match=f"column '{next(iter(empty))}' is missing in all"):
        refuse(rows(**empty))


def test_too_many_levels_are_refused_where_each_becomes_a_column():
    many = rows(MOST_LEVELS + 1, c=[f"l{i}" for i in range(MOST_LEVELS + 1)])
    with pytest.raises(NotTrainableError, match=r"'c' has 501 levels .* logistic_regression"):
        refuse(many)
    refuse(many, linear=[])
    refuse(many, replaced=["c"])
    refuse(many[1:])
