"""The text of many predictions, compiled and in Python."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import answer_rows as module
from serving.answer_rows import answer_rows, in_python

BOTH: list[Any] = [answer_rows, in_python]
either = pytest.mark.parametrize("put", BOTH, ids=["as installed", "in Python"])


def text(put: Callable[..., bytes], outputs: np.ndarray, names: list[str], stem: str) -> bytes:
    numbers = orjson.dumps(outputs.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
    begin = [json.dumps(name).encode() + b":{" for name in names]
    more = [b',"more %d":' % place for place in range(outputs.shape[1] - 1)]
    first = np.arange(len(outputs)) % len(names)
    heads = [b'","name":{%b"first":' % one for one in begin]
    return put(b'{"id":"' + stem.encode(), numbers, heads, first, more, b"}}}")


@either
@given(
    st.integers(1, 1200),
    st.integers(1, 4),
    st.lists(st.text(min_size=1), min_size=1, max_size=4),
    st.text("abc-", max_size=20),
    st.integers(0, 2**32 - 1),
)
def test_every_row_has_its_number_its_name_and_its_outputs(
    put: Callable[..., bytes], rows: int, width: int, names: list[str], stem: str, seed: int
):
    draw = np.random.default_rng(seed)
    outputs = draw.normal(size=(rows, width)) * 10.0 ** draw.integers(-12, 12, (rows, width))
    found = json.loads(text(put, outputs, names, stem))
    expected = [
        {
            "id": f"{stem}{row}",
            "name": {
                names[row % len(names)]: {
                    "first": values[0],
                    **{f"more {place}": one for place, one in enumerate(values[1:])},
                }
            },
        }
        for row, values in enumerate(outputs.tolist())
    ]
    assert found == expected


@pytest.mark.parametrize("rows", [1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001, 10_001])
def test_both_ways_give_the_same_bytes(rows: int):
    outputs = np.random.default_rng(rows).random((rows, 2))
    assert text(answer_rows, outputs, ["a"], "x-") == text(in_python, outputs, ["a"], "x-")


@pytest.mark.skipif(
    module._compiled is None,
    reason="not built: there was no C compiler when the project was installed",
)
@pytest.mark.parametrize(
    ("numbers", "first", "error"),
    [
        (b"[1,2]", [0], ValueError),
        (b"[1]", [0, 0], ValueError),
        (b"1", [0], ValueError),
        (b"", [0], ValueError),
        (b"[]", [], ValueError),
        (b"[1]", [1], IndexError),
        (b"[1]", [-1], IndexError),
    ],
)
def test_numbers_that_do_not_fit_the_rows_are_refused(
    numbers: bytes, first: list[int], error: type[Exception]
):
    with pytest.raises(error):
        answer_rows(b"{", numbers, [b"x"], np.array(first, dtype=np.intp), [], b"}")
