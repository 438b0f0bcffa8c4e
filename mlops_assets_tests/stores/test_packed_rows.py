"""Many rows as one line of the log, against the same rows as text."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.coded import Coded, Column, plain
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.errors import DataError
from mlops_assets.stores.packed_rows import PACKED, PackedRequest, unpack
from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter, read_from

ABOUT = {"request_id": "r", "at": "t", "version": "4", "variant": "champion", "latency_ms": 0.5}
TEXTS = st.sampled_from(["", "a", "ö\n", '"', MISSING_CATEGORY, *(f"level {n}" for n in range(9))])
NUMBERS = st.floats(allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)


def packed(columns: dict[str, Column], outputs: np.ndarray, **changed: Any) -> PackedRequest:
    about = {**ABOUT, "ids": "x", "entities": None, "event_times": None, **changed}
    return PackedRequest(columns=columns, outputs=outputs, **about)


def read(request: PackedRequest) -> LoggedRequest:
    return LoggedRequest(**unpack(orjson.loads(request.line())))


def as_text(request: PackedRequest) -> LoggedRequest:
    """What is read of the rows where each value was logged as text."""
    rows = len(request.outputs)
    logged = LoggedRequest(
        **ABOUT,  # type: ignore[arg-type]
        ids=[f"x-{row}" for row in range(rows)] if request.ids == "x" else list(request.ids),
        entities=request.entities or [None] * rows,
        event_times=request.event_times or [None] * rows,
        features={name: values.tolist() for name, values in plain(request.columns).items()},
        outputs=request.outputs.tolist(),
    )
    return LoggedRequest(**orjson.loads(logged.line()))


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 20), st.integers(1, 3), st.booleans())
def test_packed_rows_are_read_as_if_they_were_text(
    data: st.DataObject, rows: int, outputs: int, is_coded: bool
):
    numbers = data.draw(st.lists(NUMBERS, min_size=rows, max_size=rows))
    texts = data.draw(st.lists(TEXTS, min_size=rows, max_size=rows))
    text = np.array(texts, dtype=object)
    request = packed(
        {"n": np.array(numbers), "c": Coded.of(texts) if is_coded else text, "m": text[::-1]},
        np.random.default_rng(0).random((outputs, rows)).T,
    )
    assert read(request) == as_text(request)


DECIMALS = st.integers(-(2**40), 2**40).flatmap(
    lambda whole: st.integers(0, 7).map(lambda places: float(f"{whole}e-{places}"))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(DECIMALS | NUMBERS, min_size=3, max_size=3), min_size=1, max_size=40))
def test_numbers_are_read_bit_by_bit_as_they_were(rows: list[list[float]]):
    columns = {str(place): np.array(values) for place, values in enumerate(zip(*rows, strict=True))}
    found = read(packed(dict(columns), np.ones((len(rows), 1)))).features
    for name, values in columns.items():
        read_back = np.array([np.nan if one is None else one for one in found[name]])
        assert read_back.tobytes() == np.where(np.isnan(values), np.nan, values).tobytes()


def test_amounts_and_counts_take_a_fraction_of_the_room_of_other_numbers():
    draw = np.random.default_rng(0)
    odd = draw.normal(size=1000)
    length = {
        name: len(packed({"n": values}, np.ones((1000, 1))).line())
        for name, values in {
            "odd": odd,
            "cents": np.abs(odd.round(2)),
            "long": 1e4 + odd.round(4),
        }.items()
    }
    outputs, number = 8 * 1000 * 4 / 3, 1000 * 4 / 3
    assert length["odd"] == pytest.approx(outputs + 8 * number, rel=0.02)
    assert length["long"] == pytest.approx(outputs + 4 * number, rel=0.02)
    assert length["cents"] == pytest.approx(outputs + 2 * number, rel=0.02)


def test_lines_from_before_numbers_were_shortened_are_read():
    before = (
        b'{"request_id":"r","at":"t","version":"4","variant":"champion","latency_ms":0.5,'
        b'"ids":"x","entities":null,"event_times":null,"rows":2,"columns":{"n":null,"c":["a","b"]},'
        b'"packed":"AAAAAAAA+D8AAAAAAAAEQAEAAAAAAAAA8D8AAAAAAAAAQA=="}'
    )
    found = LoggedRequest(**unpack(orjson.loads(before)))
    assert found.features == {"n": [1.5, 2.5], "c": ["b", "a"]}
    assert found.outputs == [[1.0], [2.0]]


def test_ids_entities_and_times_of_some_rows_are_kept():
    request = packed(
        {"n": np.zeros(2)},
        np.ones((2, 1)),
        ids=["x-3", "x-7"],
        entities=["a", None],
        event_times=[None, "2026-01-01T00:00:00+00:00"],
    )
    assert read(request) == as_text(request)


@pytest.mark.parametrize("levels", [1, 256, 257, 65_536, 65_537])
def test_codes_of_any_number_of_levels_fit(levels: int):
    codes = np.array([0, levels - 1, levels // 2])
    values = tuple(map(str, range(levels)))
    found = read(packed({"c": Coded(codes, values)}, np.ones((3, 1))))
    assert found.features["c"] == [values[code] for code in codes]


def test_levels_that_no_row_has_are_not_written():
    many = tuple(f"secret {n}" for n in range(1000))
    line = packed({"c": Coded(np.array([7, 7]), many)}, np.ones((2, 1))).line()
    assert line.count(b"secret") == 1


def test_a_line_that_was_cut_or_changed_is_named_and_not_read(tmp_path: Path):
    writer = SegmentWriter(tmp_path, "s")
    writer.append(packed({"n": np.zeros(3)}, np.ones((3, 2))))
    writer.close()
    whole = orjson.loads(writer.path.read_bytes())
    for broken in (
        {**whole, PACKED: whole[PACKED][:-4]},
        {**whole, PACKED: "?" + whole[PACKED][1:]},
        {**whole, "rows": 4},
        {**whole, "columns": {"n": ["level"]}},
        {**whole, "columns": {"n": {"bytes": 3, "places": 0}}},
        {**whole, "columns": {"n": {"bytes": 2, "places": 400}}},
        {name: value for name, value in whole.items() if name != "entities"},
    ):
        writer.path.write_bytes(orjson.dumps(broken) + b"\n")
        with pytest.raises(DataError, match="line 1 after byte 0 is no record"):
            read_from(writer.path, 0)
