import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.splits import PeriodRows, Split, TrainingSet, split_periods

keys = st.dates().map(str)
quick = settings(max_examples=80, deadline=None)
MANIFEST = TrainingSet(
    model="delay",
    as_of="2024-03-01T00:00:00+00:00",
    spec_hash="ab",
    table_version=3,
    split=Split(("2024-01-01",), ("2024-01-08",), ("2024-01-15",)),
    periods=(PeriodRows("2024-01-01", 10, "x"), PeriodRows("2024-01-08", 5, "y")),
)


@quick
@given(
    st.lists(keys, unique=True, min_size=3, max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 10)),
    st.integers(1, 5),
)
def test_a_split_is_by_time_and_keeps_its_sizes(
    periods: list[str], validation: int, holdout: int, last: int | None, least: int
):
    sizes: dict[str, Any] = {"validation": validation, "holdout": holdout}
    available = len(periods) - validation - holdout
    if available < least:
        with pytest.raises(NotTrainableError, match=f"{len(periods)} periods have labels"):
            split_periods(periods, **sizes, last=last, least=least)
        return
    split = split_periods(periods, **sizes, last=last, least=least)
    assert split.periods == tuple(sorted(periods))[-len(split.periods) :]
    assert (len(split.validation), len(split.holdout)) == (validation, holdout)
    assert len(split.train) == (available if last is None else min(last, available))
    # A window means the same for the search and for the winner: nothing is fitted on more.
    known = split.train + split.validation
    assert split.refit == (known if last is None else known[-last:])
    assert known + split.holdout == split.periods


def test_too_little_history_says_how_much_is_needed_and_why():
    with pytest.raises(NotTrainableError) as refused:
        split_periods(["a", "b", "c"], validation=1, holdout=2, last=None, least=4)
    assert str(refused.value) == (
        "3 periods have labels, but training needs at least 7 (training.window.min 4 + validation "
        "1 + holdout 2): ingest more history or lower these numbers."
    )


def test_the_id_is_that_of_the_content():
    assert replace(MANIFEST).id == MANIFEST.id
    others = [
        replace(MANIFEST, model="other"),
        replace(MANIFEST, as_of="2024-03-02T00:00:00+00:00"),
        replace(MANIFEST, spec_hash="ac"),
        replace(MANIFEST, table_version=4),
        replace(MANIFEST, split=Split((), ("2024-01-01", "2024-01-08"), ("2024-01-15",))),
        replace(MANIFEST, split=replace(MANIFEST.split, last=1)),
        replace(MANIFEST, periods=MANIFEST.periods[:1]),
        replace(MANIFEST, periods=(PeriodRows("2024-01-01", 10, "z"), MANIFEST.periods[1])),
    ]
    assert len({MANIFEST.id, *(other.id for other in others)}) == len(others) + 1


@quick
@given(
    st.text(max_size=8),
    st.integers(0, 9),
    st.lists(st.builds(PeriodRows, keys, st.integers(0, 10**9), st.text(max_size=5)), max_size=4),
    st.lists(keys, max_size=3),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_a_manifest_survives_json(
    model: str, version: int, rows: list[PeriodRows], part: list[str], last: int | None
):
    manifest = TrainingSet(
        model=model,
        as_of="2024-03-01T00:00:00+00:00",
        spec_hash="ab",
        table_version=version,
        split=Split(tuple(part), (), tuple(part), last),
        periods=tuple(rows),
    )
    again = TrainingSet.from_json(manifest.to_json())
    assert again == manifest
    assert again.id == manifest.id
    assert again.to_json() == manifest.to_json()


def test_rows_and_data_hash_follow_the_periods():
    assert MANIFEST.rows == 15
    later = replace(MANIFEST, as_of="2025-01-01T00:00:00+00:00")
    assert later.data_hash == MANIFEST.data_hash
    changed = replace(MANIFEST, periods=(MANIFEST.periods[0], PeriodRows("2024-01-08", 5, "z")))
    assert changed.data_hash != MANIFEST.data_hash


def test_sets_from_before_there_were_windows_are_read_as_they_were():
    content = json.loads(MANIFEST.to_json())
    del content["split"]["last"]
    assert TrainingSet.from_json(json.dumps(content)) == MANIFEST
    # The id that this set has always had.
    assert MANIFEST.id == "e1114ed56ea69755"
