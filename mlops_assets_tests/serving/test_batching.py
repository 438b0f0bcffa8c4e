"""Requests that come while another one is scored are scored together, and each gets its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.requests import RequestParser
from mlops_assets.stores.bundles import Columns, load_scorer
from mlops_assets_tests.serving.conftest import CONTRACT, Built, records
from mlops_assets_tests.waiting import eventually
from serving.batching import MAX_ROWS, BatchingScorer

SECONDS = 60.0


class Doubler:
    """A model that doubles, fails on negative numbers, and can be held up while it works."""

    contract = CONTRACT

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.has_begun = threading.Event()

    def score(self, columns: Columns) -> np.ndarray:
        x = columns["x"]
        self.calls.append(len(x))
        self.has_begun.set()
        assert self.goes_on.wait(SECONDS)
        if (x < 0).any():
            raise ValueError("negative")
        return 2 * x.reshape(-1, 1)


def ask(scorer: BatchingScorer, *values: float) -> Any:
    return scorer.score({"x": np.array(values)})[:, 0].tolist()


def all_wait(scorer: BatchingScorer, count: int) -> None:
    eventually(lambda: len(scorer._queue) >= count, every=0.001)


def held_up(scorer: BatchingScorer, model: Doubler, calls: list[list[float]]) -> list[Any]:
    """Answers, or errors, of calls that all come while the model works on another one."""
    model.goes_on.clear()
    model.has_begun.clear()
    with ThreadPoolExecutor(len(calls) + 1) as pool:
        first = pool.submit(ask, scorer, 0.0)
        assert model.has_begun.wait(SECONDS)
        waiting = []
        for number, values in enumerate(calls, start=1):
            waiting.append(pool.submit(ask, scorer, *values))
            all_wait(scorer, number)
        model.goes_on.set()
        assert first.result(SECONDS) == [0.0]
        return [one.exception(SECONDS) or one.result() for one in waiting]


def test_a_lone_request_is_scored_at_once_and_alone():
    model = Doubler()
    scorer = BatchingScorer(model)
    assert [ask(scorer, n) for n in (1.0, 2.0)] == [[2.0], [4.0]]
    assert model.calls == [1, 1]


def test_requests_that_come_meanwhile_are_scored_together():
    model = Doubler()
    answers = held_up(BatchingScorer(model), model, [[1.0], [2.0, 3.0], [4.0]])
    assert answers == [[2.0], [4.0, 6.0], [8.0]]
    assert model.calls == [1, 4]


def test_one_request_that_fails_does_not_fail_the_others():
    model = Doubler()
    scorer = BatchingScorer(model)
    one, bad, three = held_up(scorer, model, [[1.0], [-2.0, 2.0], [3.0]])
    assert (one, three) == ([2.0], [6.0])
    assert isinstance(bad, ValueError)
    assert ask(scorer, 5.0) == [10.0]


def test_a_request_that_fails_alone_raises_and_blocks_nobody():
    scorer = BatchingScorer(Doubler())
    with pytest.raises(ValueError, match="negative"):
        ask(scorer, -1.0)
    assert ask(scorer, 1.0) == [2.0]


def test_a_batch_has_an_end():
    model = Doubler()
    rows = [1.0] * (MAX_ROWS - 1)
    answers = held_up(BatchingScorer(model), model, [rows, rows, rows])
    assert [len(answer) for answer in answers] == [len(rows)] * 3
    assert model.calls == [1, 2 * len(rows), len(rows)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 50), min_size=1, max_size=5), min_size=2, max_size=40))
def test_whatever_comes_at_once_each_gets_its_own_answer(calls: list[list[int]]):
    scorer = BatchingScorer(Doubler())

    def ask_one(values: list[int]) -> Any:
        try:
            return ask(scorer, *values)
        except ValueError:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask_one, calls))
    assert answers == [
        "refused" if min(values) < 0 else [2 * value for value in values] for values in calls
    ]


def test_a_real_pipeline_answers_the_same_together_as_alone(bundles: dict[str, Built]):
    exact = load_scorer(bundles["skops"].folder)
    parser = RequestParser(CONTRACT)
    parts = [parser.parse({"records": records(n % 3 + 1, seed=n)}).columns for n in range(40)]
    scorer = BatchingScorer(exact)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(scorer.score, parts))
    for columns, outputs in zip(parts, together, strict=True):
        assert np.array_equal(outputs, exact.score(columns))
