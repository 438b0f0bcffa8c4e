import numpy as np
import pytest

from mlops_assets.domain.contract import Task
from mlops_assets.domain.evaluation import metrics, row_losses
from mlops_assets.domain.intervals import metric_intervals, slice_quality

Rows = tuple[np.ndarray, np.ndarray, tuple[str, ...]]


def rows(task: Task, n: int, rng: np.random.Generator) -> Rows:
    """Labels and outputs of an honest model."""
    if task == "regression":
        x = rng.normal(50, 20, n)
        return x + rng.normal(0, 8, n), x[:, None], ()
    k = 2 if task == "binary" else 3
    outputs = rng.dirichlet(np.linspace(1, 2, k), n)
    y = (outputs.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return y, outputs, tuple(str(index) for index in range(k))


TASKS: list[Task] = ["binary", "multiclass", "regression"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n", [400, 8_000])
def test_every_metric_has_an_interval_around_its_exact_value(task: Task, n: int):
    y, outputs, classes = rows(task, n, np.random.default_rng(n))
    found = metric_intervals(task, y, outputs, classes, confidence=0.95, seed=0)
    expected = metrics(task, y, outputs, classes)
    assert set(found) == {*expected, "loss"}
    assert found["loss"].mean == pytest.approx(row_losses(task, y, outputs).mean())
    for name, value in expected.items():
        assert found[name].mean == value
        assert found[name].lower < value < found[name].upper, name


@pytest.mark.parametrize(
    # More rows than blocks, and fewer.
    ("task", "n"),
    [("binary", 300), ("multiclass", 300), ("regression", 300), ("binary", 4_000)],
)
def test_an_interval_holds_the_truth_about_as_often_as_it_says(task: Task, n: int):
    rng = np.random.default_rng(5)
    # Of as many rows as it takes to call it the truth.
    y, outputs, classes = rows(task, 200_000, rng)
    truth = metrics(task, y, outputs, classes)
    runs = 50
    held = dict.fromkeys(truth, 0)
    for seed in range(runs):
        y, outputs, classes = rows(task, n, rng)
        found = metric_intervals(task, y, outputs, classes, confidence=0.9, seed=seed)
        for name, value in truth.items():
            held[name] += found[name].lower <= value <= found[name].upper
    # 45 of 50 are promised; below 38 or nearly all of all metrics would be a wrong interval.
    assert min(held.values()) >= 38, held
    assert np.mean(list(held.values())) <= 49, held


def test_the_area_under_the_curve_moves_as_it_does_when_rows_are_drawn_again():
    y, outputs, classes = rows("binary", 800, np.random.default_rng(1))
    found = metric_intervals("binary", y, outputs, classes, confidence=0.95, seed=0)["roc_auc"]
    rng = np.random.default_rng(2)
    areas = []
    for _ in range(400):
        drawn = rng.integers(800, size=800)
        areas.append(metrics("binary", y[drawn], outputs[drawn], classes)["roc_auc"])
    lower, upper = np.quantile(areas, [0.025, 0.975])
    assert found.lower == pytest.approx(lower, abs=0.006)
    assert found.upper == pytest.approx(upper, abs=0.006)


def test_the_same_seed_gives_the_same_interval():
    y, outputs, classes = rows("binary", 500, np.random.default_rng(3))
    one, same, other = (
        metric_intervals("binary", y, outputs, classes, confidence=0.95, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_rows_of_one_class_or_of_an_unknown_one_have_intervals_too():
    outputs = np.tile([0.3, 0.7], (300, 1))
    y = np.ones(300, dtype=int)
    found = metric_intervals("binary", y, outputs, ("0", "1"), confidence=0.95, seed=0)
    assert "roc_auc" not in found
    assert found["accuracy"].lower == found["accuracy"].upper == 1
    y[:30] = -1
    found = metric_intervals("binary", y, outputs, ("0", "1"), confidence=0.95, seed=0)
    assert found["accuracy"].lower < 0.9 < found["accuracy"].upper


def test_a_slice_with_too_few_rows_is_named_and_has_no_metrics():
    y, outputs, classes = rows("binary", 1000, np.random.default_rng(4))
    origin = np.array(["EWR"] * 600 + ["JFK"] * 380 + ["LGA"] * 20)
    found = slice_quality(
        "binary", y, outputs, classes, {"origin": origin}, {"origin": 200}, confidence=0.95, seed=0
    )
    assert [(one.value, one.rows, one.judged) for one in found] == [
        ("EWR", 600, True),
        ("JFK", 380, True),
        ("LGA", 20, False),
    ]
    assert found[2].metrics == {}
    assert found[2].min_rows == 200
    alone = metric_intervals("binary", y[:600], outputs[:600], classes, confidence=0.95, seed=0)
    assert found[0].metrics == alone


def test_the_twenty_most_frequent_values_of_a_column_are_told_apart():
    y, outputs, classes = rows("binary", 3000, np.random.default_rng(6))
    carrier = np.repeat([f"c{n:02}" for n in range(30)], 100)
    carrier[:150] = "c29"
    found = slice_quality(
        "binary", y, outputs, classes, {"carrier": carrier}, {"carrier": 50}, confidence=0.9, seed=0
    )
    assert len(found) == 20
    assert (found[0].value, found[0].rows) == ("c29", 250)


@pytest.mark.parametrize("task", TASKS)
def test_weighted_rows_have_intervals_around_their_weighted_metrics(task: Task):
    draw = np.random.default_rng(3)
    y, outputs, classes = rows(task, 600, draw)
    weights = draw.uniform(0.2, 5, 600)
    found = metric_intervals(task, y, outputs, classes, confidence=0.95, seed=0, weights=weights)
    expected = metrics(task, y, outputs, classes, weights)
    plain = metric_intervals(task, y, outputs, classes, confidence=0.95, seed=0)
    for name, value in expected.items():
        assert found[name].mean == value != plain[name].mean
        assert found[name].lower < value < found[name].upper, name
        # Unequal weights are fewer rows in effect, here about 70%.
        wider = (found[name].upper - found[name].lower) / (plain[name].upper - plain[name].lower)
        assert 0.9 < wider < 1.6, name
    value = np.array(["a", "b"])[np.arange(600) % 2]
    slices = slice_quality(
        task, y, outputs, classes, {"v": value}, {"v": 50},
        confidence=0.95, seed=0, weights=weights,
    )  # fmt: skip
    for one in slices:
        mine = value == one.value
        expected = metrics(task, y[mine], outputs[mine], classes, weights[mine])
        assert {n: i.mean for n, i in one.metrics.items() if n != "loss"} == expected
