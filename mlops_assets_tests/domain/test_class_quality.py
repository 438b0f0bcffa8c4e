from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, precision_recall_fscore_support

from mlops_assets.domain.class_quality import class_quality
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import metrics

CLASSES = ("a", "b", "c")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 60))
def test_each_class_equals_what_scikit_learn_says_of_it(seed: int, rows: int):
    draw = np.random.default_rng(seed)
    y, outputs = draw.integers(0, 3, rows), draw.dirichlet((1, 1, 1), rows)
    found = class_quality(y, outputs, CLASSES)
    expected = precision_recall_fscore_support(
        y, outputs.argmax(axis=1), labels=[0, 1, 2], zero_division=0
    )
    for place, one in enumerate(found):
        assert one.name == CLASSES[place]
        told = (one.precision, one.recall, one.f1, one.rows)
        assert told == pytest.approx([column[place] for column in expected])
        mine = y == place
        assert one.share == pytest.approx(mine.mean())
        assert one.told == pytest.approx(outputs[:, place].mean())
        if mine.any():
            assert one.log_loss == pytest.approx(log_loss(y[mine], outputs[mine], labels=[0, 1, 2]))
        else:
            assert one.log_loss is None
    whole = metrics("multiclass", y, outputs, CLASSES)
    assert np.mean([one.recall for one in found]) == pytest.approx(whole["recall"])
    weighted = sum(one.share * (one.log_loss or 0) for one in found)
    assert weighted == pytest.approx(whole["log_loss"])


def test_a_row_of_weight_three_counts_like_three_rows():
    draw = np.random.default_rng(0)
    times = draw.integers(1, 4, 50)
    y, outputs = draw.integers(0, 3, 50), draw.dirichlet((1, 1, 1), 50)
    again = np.repeat(np.arange(50), times)
    weighted = class_quality(y, outputs, CLASSES, times)
    for one, other in zip(weighted, class_quality(y[again], outputs[again], CLASSES), strict=True):
        found, expected = asdict(one), asdict(other)
        assert found.pop("rows") < expected.pop("rows")
        assert (found.pop("name"), found) == (expected.pop("name"), pytest.approx(expected))


def test_rows_of_a_class_that_the_model_does_not_know_belong_to_no_class():
    outputs = np.array([[0.9, 0.1], [0.8, 0.2]])
    first, second = class_quality(np.array([0, -1]), outputs, ("a", "b"))
    assert (first.rows, first.share, first.precision) == (1, 0.5, 0.5)
    assert second.rows == 0


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="0 labels"):
        class_quality(np.array([], int), np.empty((0, 2)), ("a", "b"))
