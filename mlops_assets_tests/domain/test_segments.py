from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.contract import ContractColumn
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.excess import excess_of, least_excess
from mlops_assets.domain.segments import (
    SegmentHarm,
    SegmentReference,
    Segments,
    harmed_segment,
    segment_reference,
)

NAN = float("nan")
STORES = np.array(["a", "b", "c", "d", "e", "f"], dtype=object)
COLUMNS = (
    ContractColumn("price", "number", True),
    ContractColumn("store", "category", True),
)
Drawn = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


def rows(rng: np.random.Generator, n: int, *, evening: bool = False) -> Drawn:
    """Inputs, labels drawn from honest probabilities, and these probabilities."""
    price = rng.uniform(0.5, 1.0, n) if evening else rng.uniform(0, 1, n)
    store = rng.choice(STORES, n, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    p = 0.02 + 0.9 * price**2 * np.where(store == "a", 0.3, 1.0)
    y = (rng.random(n) < p).astype(int)
    inputs = {"price": np.where(rng.random(n) < 0.1, NAN, price), "store": store}
    return inputs, y, np.column_stack([1 - p, p])


def released(drawn: Drawn, task: Any = "binary") -> SegmentReference:
    inputs, y, outputs = drawn
    return segment_reference(task, y, outputs, inputs, COLUMNS, blocks=np.arange(len(y)) % 4)


def judged(
    reference: SegmentReference, drawn: Drawn, task: Any = "binary", **changes: Any
) -> SegmentHarm | None:
    inputs, y, outputs = drawn
    limits = {"rate": 0.002, "min_harm": 0.02} | changes
    here = Segments(reference, inputs, np.zeros(len(y), dtype=int))
    return harmed_segment(here, excess_of(task, y, outputs), **limits)


def flipped(drawn: Drawn, where: np.ndarray) -> Drawn:
    inputs, y, outputs = drawn
    return inputs, np.where(where, 1 - y, y), outputs


def test_a_concept_that_changes_in_one_store_is_found_and_named():
    rng = np.random.default_rng(0)
    reference, period = released(rows(rng, 800)), rows(rng, 500)
    found = judged(reference, flipped(period, period[0]["store"] == "b"))
    assert found is not None
    assert (found.column, found.segment) == ("store", "store = b")
    assert found.rows == (period[0]["store"] == "b").sum()
    assert found.excess > 0.2 > abs(found.held)
    assert found.p_value < found.limit == 0.002 / found.tested
    assert "Brier score above the expected" in found.reason
    assert f"in the {found.rows} rows with store = b" in found.reason


@pytest.mark.parametrize(
    ("low", "high", "name"), [(0.8, 1.0, "<= price"), (0.0, 0.24, "price < 0.2")]
)
def test_a_range_of_numbers_is_named_by_its_ends(low: float, high: float, name: str):
    rng = np.random.default_rng(1)
    reference, period = released(rows(rng, 2000)), rows(rng, 2000)
    price = period[0]["price"]
    found = judged(reference, flipped(period, (price >= low) & (price < high)))
    assert found is not None
    assert name in found.segment


def test_rows_without_a_value_are_a_segment_of_their_own():
    rng = np.random.default_rng(2)
    reference, period = released(rows(rng, 2000)), rows(rng, 2000)
    found = judged(reference, flipped(period, np.isnan(period[0]["price"])))
    assert found is not None
    assert found.segment == "price missing"


def test_rare_levels_are_one_segment_that_says_what_it_is_not():
    rng = np.random.default_rng(3)
    reference, period = released(rows(rng, 2000)), rows(rng, 2000)
    known = reference.encoding.columns[1].levels
    rare = ~np.isin(period[0]["store"], known)
    found = judged(reference, flipped(period, rare))
    assert found is not None
    assert found.segment == f"store none of {', '.join(known)}"


@pytest.mark.parametrize(("held", "n"), [(200, 300), (800, 500), (800, 5_000)])
def test_an_unchanged_world_rarely_has_a_harmed_segment(held: int, n: int):
    rng = np.random.default_rng(held + n)
    found = [
        judged(reference, rows(rng, n), rate=0.05, min_harm=0.0)
        for reference in (released(rows(rng, held)) for _ in range(60))
        for _ in range(5)
    ]
    # 5% of 300 is 15; one reference is shared by five periods, so there are fewer free draws.
    assert 1 <= sum(one is not None for one in found) <= 25


def test_harder_rows_than_before_are_no_harm():
    rng = np.random.default_rng(4)
    reference = released(rows(rng, 800))
    assert not any(judged(reference, rows(rng, 2000, evening=True)) for _ in range(50))


def test_a_model_that_was_never_calibrated_in_a_segment_does_no_new_harm_there():
    rng = np.random.default_rng(5)

    def boastful(n: int) -> Drawn:
        inputs, y, outputs = rows(rng, n)
        p = np.where(inputs["store"] == "b", np.round(outputs[:, 1]), outputs[:, 1])
        return inputs, y, np.column_stack([1 - p, p])

    honest = released(rows(rng, 2000))
    found = judged(honest, boastful(2000))
    assert found is not None
    assert found.segment == "store = b"
    reference = released(boastful(2000))
    assert not any(judged(reference, boastful(2000)) for _ in range(50))


def test_harm_too_small_for_all_rows_to_matter_is_none():
    rng = np.random.default_rng(6)
    reference, period = released(rows(rng, 5000)), rows(rng, 5000)
    worse = flipped(period, np.isnan(period[0]["price"]))
    found = judged(reference, worse)
    assert found is not None
    added = (found.excess - found.held) * found.rows / 5000 / reference.loss
    assert judged(reference, worse, min_harm=0.99 * added) == found
    assert judged(reference, worse, min_harm=1.01 * added) is None


def test_labels_that_are_outstanding_count_as_if_the_model_had_been_right():
    rng = np.random.default_rng(7)
    reference = released(rows(rng, 2000))
    inputs, y, outputs = rows(rng, 2000)
    # Labels that surprise come first: what is known of a period looks much worse than it is.
    known = (outputs.argmax(axis=1) != y) | (rng.random(2000) < 0.4)
    early, late = (
        {name: values[rows] for name, values in inputs.items()} for rows in (known, ~known)
    )
    assert judged(reference, (early, y[known], outputs[known])) is not None
    both = Segments(reference, early, np.zeros(int(known.sum()), dtype=int), late)
    excess, least = (
        excess_of("binary", y[known], outputs[known]),
        least_excess("binary", outputs[~known]),
    )
    limits = {"rate": 0.002, "min_harm": 0.02, "least": least}
    assert harmed_segment(both, excess, **limits) is None
    # Where no more labels ever come, those that are there are all.
    assert harmed_segment(both, excess, **limits, usual_coverage=0.01) is not None


def test_labels_that_are_missing_in_one_segment_only_are_counted_there():
    rng = np.random.default_rng(14)
    reference = released(rows(rng, 2000))
    inputs, y, outputs = rows(rng, 2000)
    here, surprised = inputs["store"] == "c", outputs.argmax(axis=1) != y
    known = ~here | surprised | (rng.random(2000) < 0.3)
    early, late = (
        {name: values[rows] for name, values in inputs.items()} for rows in (known, ~known)
    )
    excess, least = (
        excess_of("binary", y[known], outputs[known]),
        least_excess("binary", outputs[~known]),
    )
    blocks = np.zeros(int(known.sum()), dtype=int)
    found = harmed_segment(Segments(reference, early, blocks), excess, rate=0.002, min_harm=0.0)
    assert found is not None
    assert found.segment == "store = c"
    assert known.mean() > 0.85
    both = Segments(reference, early, blocks, late)
    assert harmed_segment(both, excess, rate=0.002, min_harm=0.0, least=least) is None


def test_the_surest_of_several_harmed_segments_is_told():
    rng = np.random.default_rng(8)
    reference, period = released(rows(rng, 2000)), rows(rng, 3000)
    store = period[0]["store"]
    both = (store == "b") | ((store == "c") & (rng.random(3000) < 0.4))
    found = judged(reference, flipped(period, both))
    assert found is not None
    assert found.segment == "store = b"


def test_a_regression_is_judged_by_its_errors_against_those_of_the_holdout():
    rng = np.random.default_rng(9)

    def drawn(n: int) -> Drawn:
        inputs, _, _ = rows(rng, n)
        truth = rng.normal(size=n)
        return inputs, truth, (truth + rng.standard_t(4, n))[:, None]

    reference = released(drawn(2000), "regression")
    assert not any(judged(reference, drawn(1000), "regression") for _ in range(50))
    inputs, y, outputs = drawn(1000)
    worse = inputs, y, outputs + 2.0 * (inputs["store"] == "b")[:, None]
    found = judged(reference, worse, "regression")
    assert found is not None
    assert found.reason.startswith("loss ")
    assert found.segment == "store = b"


def stormy(rng: np.random.Generator, days: int) -> tuple[Drawn, np.ndarray]:
    """Days in each of which another store has a bad time of its own."""
    inputs, y, outputs = rows(rng, 300 * days)
    day = np.arange(len(y)) % days
    bad = inputs["store"] == STORES[:4][day % 4]
    return (inputs, np.where(bad & (rng.random(len(y)) < 0.4), 1 - y, y), outputs), day


def test_segments_that_have_always_changed_from_day_to_day_have_to_change_by_more():
    rng = np.random.default_rng(15)
    (inputs, y, outputs), day = stormy(rng, 20)
    drawn = ("binary", y, outputs, inputs, COLUMNS)
    usual = segment_reference(*drawn, blocks=day)
    steady = segment_reference(*drawn, blocks=rng.permutation(day))
    assert usual.between[-1] > 0.003 > 10 * steady.between[-1]
    one = rows(rng, 1000)
    stormy_day = flipped(one, (one[0]["store"] == "b") & (rng.random(1000) < 0.6))
    assert judged(steady, stormy_day) is not None
    assert judged(usual, stormy_day) is None
    # The same on seven days running is no storm.
    here = Segments(usual, stormy_day[0], np.arange(1000) % 7)
    excess = excess_of("binary", stormy_day[1], stormy_day[2])
    found = harmed_segment(here, excess, rate=0.002, min_harm=0.02)
    assert found is not None
    assert found.segment == "store = b"


def test_few_rows_are_not_tested():
    rng = np.random.default_rng(10)
    inputs, y, outputs = rows(rng, 19)
    assert judged(released(rows(rng, 800)), (inputs, 1 - y, outputs), rate=0.5) is None
    assert judged(released(rows(rng, 59)), rows(rng, 800), rate=0.99, min_harm=-9.0) is None


def test_a_model_without_inputs_to_cut_along_has_no_segments():
    rng = np.random.default_rng(11)
    inputs, y, outputs = rows(rng, 800)
    reference = segment_reference("binary", y, outputs, inputs, (), blocks=np.zeros(800, dtype=int))
    assert judged(reference, (inputs, 1 - y, outputs)) is None


def test_a_reference_survives_json_and_anything_else_is_refused():
    reference = released(rows(np.random.default_rng(13), 400))
    assert SegmentReference.from_json(reference.to_json()) == reference
    for raw in (b"", b"[]", b"{}", b'{"loss": "x"}'):
        with pytest.raises(DataError, match="not a reference of segments"):
            SegmentReference.from_json(raw)
