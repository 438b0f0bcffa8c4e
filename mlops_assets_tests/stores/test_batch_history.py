"""Rows in bulk get the inputs from the past that training has, as of their own times."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import DataError, PastFunctionError
from mlops_assets.stores.batch_history import BatchPast, LookUps
from mlops_assets.stores.batch_input import BatchInput, open_input
from mlops_assets.stores.entity_events import Past
from mlops_assets.stores.lake import PERIOD, Lake
from mlops_assets.stores.tables import to_frame
from mlops_assets_tests.regulars import NAMES, regular_model, regulars, validated_lake

DAYS = 7
# Rows in a part: a period has 150, so parts begin in the middle of one.
PART = 400


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return validated_lake(tmp_path_factory.mktemp("lake"), regular_model(), DAYS)


@pytest.fixture
def past(lake: Lake) -> BatchPast:
    found = BatchPast.newest(regular_model(), lake.root)
    assert found is not None
    return found


def contract(**changes: Any) -> Contract:
    return regular_model(**changes).spec.contract("regulars", ("0", "1"))


def opened(folder: Path, rows: pa.Table) -> BatchInput:
    path = folder / "rows.parquet"
    pq.write_table(rows, path, row_group_size=100)
    return open_input(str(path), ["zone"], PART)


def completed(past: BatchPast | None, source: BatchInput) -> tuple[pa.Table, list[Any]]:
    """All rows with their inputs, and the problems that were found."""
    found = LookUps(past, contract(), source.schema)
    batches, problems = [], []
    for part in source.parts:
        complete = found.of_part(part)
        for batch in part.batches(source.schema, source.schema.names):
            rows, wrong = complete(batch)
            batches.append(rows)
            problems += [(name, why, int(where.sum())) for name, why, where in wrong if where.any()]
    return pa.Table.from_batches(batches), problems


@pytest.mark.parametrize("order", ["by time", "shuffled"])
def test_bulk_has_what_training_has_to_the_last_bit(
    lake: Lake, past: BatchPast, tmp_path: Path, order: str
):
    rows = lake.read("regulars", "validated_data")
    if order == "shuffled":
        rows = rows.take(np.random.default_rng(0).permutation(rows.num_rows))
    table, problems = completed(past, opened(tmp_path, rows))
    assert problems == []
    training = Past(regular_model(), lake)
    for period in lake.periods("regulars", "validated_data"):
        own = table.filter(pa.compute.equal(table[PERIOD].cast(pa.string()), period))
        expected = training.inputs(period, to_frame(own.select(rows.column_names)))
        for name in NAMES:
            assert own[name].to_numpy().tobytes() == expected[name].tobytes(), name


def test_rows_after_the_newest_period_see_what_is_known_newest(past: BatchPast, tmp_path: Path):
    """A window as long as ever, up to the end of what is there: as the endpoint answers."""
    rows = regulars(DAYS + 3).slice(150 * DAYS)
    table, _ = completed(past, opened(tmp_path, rows))
    assert table.num_rows == 450
    found = zip(table["sender"].to_pylist(), table["sent_before"].to_pylist(), strict=True)
    by_sender: dict[int, float] = {}
    assert all(by_sender.setdefault(sender, count) == count for sender, count in found)
    assert max(by_sender.values()) > 0


def test_what_rows_bring_is_not_looked_up(past: BatchPast, tmp_path: Path):
    rows = regulars(2).append_column("sent_before", pa.array([99.0] * 300))
    table, _ = completed(past, opened(tmp_path, rows))
    assert set(table["sent_before"].to_pylist()) == {99.0}
    assert np.isfinite(table["usual_weight"].to_numpy()).any()
    whole = pa.schema([pa.field(name, pa.float64()) for name in NAMES])
    assert LookUps(None, contract(), whole).names == ()


def test_rows_without_a_time_or_a_key_or_from_before_the_history_are_told(
    past: BatchPast, tmp_path: Path
):
    rows = regulars(1).to_pandas()
    rows["sender"] = rows["sender"].astype("Int64")
    rows.loc[0, "sent_at"] = None
    rows.loc[[1, 2], "sender"] = None
    rows.loc[3, "sent_at"] -= np.timedelta64(1, "D")
    rows.loc[4, "zone"] = None
    _, problems = completed(past, opened(tmp_path, pa.Table.from_pandas(rows)))
    assert set(problems) == {
        ("sent_at", "missing, but inputs come from it", 1),
        ("sender", "missing, but inputs are looked up by it", 2),
        ("sent_at", "before the history of the model begins", 1),
    }


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        ("sent_at", r"no times in 'sent_at' \(no such column\)"),
        ("sender", "no column 'sender', by"),
    ],
)
def test_rows_that_do_not_say_when_or_about_whom_are_refused(
    past: BatchPast, drop: str, words: str
):
    with pytest.raises(DataError, match=words):
        LookUps(past, contract(), regulars(1).drop_columns([drop]).schema)


def test_without_a_past_the_missing_inputs_are_named(tmp_path: Path):
    assert BatchPast.newest(regular_model(), str(tmp_path)) is None
    with pytest.raises(DataError, match=r"no sent_before, .* its validated_data in the lake"):
        LookUps(None, contract(), regulars(1).schema)


def test_a_version_is_scored_only_with_the_function_that_it_was_trained_with(past: BatchPast):
    old = contract().to_json().replace(b'"digest": "', b'"digest": "0')
    with pytest.raises(PastFunctionError, match=r"features\.py is not what it was"):
        LookUps(past, Contract.from_json(old), regulars(1).schema)
