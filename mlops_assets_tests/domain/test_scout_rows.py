import json

import numpy as np
import pytest

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.scout_rows import ScoutRows, fit_scout_rows
from mlops_assets.domain.scouts import Scouts

TYPES = {"weight": "number", "zone": "category"}
DRAW = np.random.default_rng(0)
ROWS = 2_000
COLUMNS = {
    "weight": DRAW.uniform(0, 20, ROWS),
    "zone": np.array(["near", "far", "abroad"], dtype=object)[DRAW.integers(0, 3, ROWS)],
}
LATE = np.where(COLUMNS["zone"] == "abroad", "1", "0").astype(object)


def rules(task: str, labels: np.ndarray, classes: tuple[str, ...]) -> ScoutRows:
    return fit_scout_rows(task, TYPES, COLUMNS, labels, classes)  # type: ignore[arg-type]


def test_a_binary_label_is_one_column_of_whether_it_is_the_last_class():
    found = rules("binary", LATE, ("0", "1"))
    assert found.targets(np.array(["0", "1", "0"], dtype=object)).tolist() == [[0], [1], [0]]


def test_more_classes_are_indicators_and_a_new_class_is_none_of_them():
    found = rules("multiclass", LATE, ("a", "b", "c"))
    told = found.targets(np.array(["b", "never seen", "c"], dtype=object))
    assert told.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_values_of_a_regression_are_winsorised_at_the_tails_of_the_oldest_rows():
    values = DRAW.normal(10, 2, ROWS)
    found = rules("regression", values, ())
    told = found.targets(np.array([-1e9, 10.0, 1e9]))
    lower, upper = np.quantile(values, [0.005, 0.995])
    assert told.ravel() == pytest.approx([lower, 10, upper])


def test_scouts_of_such_sums_find_what_the_label_depends_on():
    found = rules("binary", LATE, ("0", "1"))
    part = found.moments(COLUMNS, LATE)
    assert part.rows == ROWS
    assert Scouts([part, part]).fresh(1, None) < 0.01 < LATE.astype(float).var()


@pytest.mark.parametrize(
    ("task", "labels", "classes"),
    [
        ("binary", LATE, ("0", "1")),
        ("multiclass", LATE, ("0", "1", "2")),
        ("regression", DRAW.normal(0, 1, ROWS), ()),
    ],
)
def test_rules_survive_being_kept_with_their_id(task, labels, classes):
    found = rules(task, labels, classes)
    again = ScoutRows.from_json(found.to_json())
    assert again == found
    assert again.id == found.id
    np.testing.assert_array_equal(
        again.moments(COLUMNS, labels).cross, found.moments(COLUMNS, labels).cross
    )


def test_other_bins_have_another_id():
    shifted = {**COLUMNS, "weight": COLUMNS["weight"] + 1}
    other = fit_scout_rows("binary", TYPES, shifted, LATE, ("0", "1"))  # type: ignore[arg-type]
    assert other.id != rules("binary", LATE, ("0", "1")).id


def test_no_rows_are_refused():
    none = {name: values[:0] for name, values in COLUMNS.items()}
    with pytest.raises(DataError, match="no label of the oldest periods"):
        fit_scout_rows("binary", TYPES, none, LATE[:0], ())  # type: ignore[arg-type]


@pytest.mark.parametrize("raw", ["", "[]", "{}", json.dumps({"task": "binary", "limits": [1]})])
def test_what_are_no_rules_is_refused(raw: str):
    with pytest.raises(DataError, match="no rules"):
        ScoutRows.from_json(raw)
