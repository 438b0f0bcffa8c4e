from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.sequential import Stratum
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.canaries import Canary, Side, Walked, strata
from mlops_assets.stores.lake import PERIOD, Lake
from mlops_assets_tests.loop import parcel_spec

DAY = datetime(2026, 1, 9, tzinfo=UTC)
CONTRACT = Contract(
    model="parcels",
    task="regression",
    classes=(),
    columns=(ContractColumn("weight", "number", False),),
    entity="parcel",
    event_time="sent_at",
    max_rows=10,
)


@dataclass
class Always:
    """A scorer that says the same of every row."""

    contract: Contract
    value: float

    def score(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        return np.full((len(columns["weight"]), 1), self.value)


def canary(*steps: tuple[float, int]) -> Canary:
    """Version 2 against 1, at these shares since these hours."""
    walked = tuple(
        Walked(weight, (DAY + timedelta(hours=hour)).isoformat(), "") for weight, hour in steps
    )
    return Canary("2", "1", "running", "", "", "2026-01-08", walked)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    spec = ModelSpec.model_validate(parcel_spec(task="regression", label={"column": "hours"}))
    return Model("parcels", spec, tmp_path)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Answers to parcels whose truth is 10: (entity, hour, variant, version, answer)."""
    rows = [
        ("a", 0, "champion", "1", 10.0),  # before the canary began
        ("b", 1, "champion", "1", 12.0),
        ("c", 1, "challenger", "2", 13.0),
        ("d", 5, "champion", "1", 11.0),
        ("e", 5, "challenger", "2", 10.5),
        ("f", 5, "challenger", "2", 11.5),
        ("g", 5, "challenger", "3", 99.0),  # a version that does not walk
        ("h", 5, "shadow", "2", 99.0),
        ("i", 5, "fallback", "1", 99.0),
        ("j", 5, "challenger", "2", 99.0),  # no label yet
    ]
    found = Lake(str(tmp_path / "lake"))
    names = ("entity", "hour", "variant", "version", "value")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    at = [DAY + timedelta(hours=hour) for hour in columns.pop("hour")]
    table = pa.table(
        {
            **columns,
            "prediction_id": [f"p{place}" for place in range(len(rows))],
            "event_time": pa.array([DAY] * len(rows), pa.timestamp("us", "UTC")),
            "served_at": pa.array(at, pa.timestamp("us", "UTC")),
            "weight": [1.0] * len(rows),
        }
    )
    truth = table.select(["entity", "event_time"]).slice(0, 9)
    truth = truth.append_column("label", pa.array([10.0] * 9))
    known = pa.array([DAY] * 9, pa.timestamp("us", "UTC"))
    truth = truth.append_column("label_known_at", known)
    for period in ("2026-01-08", "2026-01-09", "2026-01-10"):
        found.write_period("parcels", "predictions", period, table)
        found.write_period("parcels", "ground_truth", period, truth)
    assert PERIOD in found.schema("parcels", "predictions")
    return found


def sides(challenger: Contract = CONTRACT) -> dict[str, Side]:
    return {
        "champion": Side("1", Always(CONTRACT, 12.0)),
        "challenger": Side("2", Always(challenger, 0.0)),
    }


def cut(found: list[Stratum]) -> list[tuple[int, float, int, float]]:
    """Rows and mean loss of champion and challenger, by stratum."""
    return [(s.champion.rows, s.champion.mean, s.challenger.rows, s.challenger.mean) for s in found]


def test_rows_are_cut_by_period_and_step_and_others_are_left_out(model: Model, lake: Lake):
    other = replace(CONTRACT, columns=(ContractColumn("weight", "integer", False),))
    walking = canary((1.0, 1), (10.0, 4))
    found, at_step = strata(model, lake, walking, sides(other), "2026-01-09")
    assert cut(found) == [(1, 2.0, 1, 3.0), (1, 1.0, 2, 1.0)]
    assert at_step == 2


def test_of_versions_with_the_same_inputs_each_row_counts_less_the_champions_loss(
    model: Model, lake: Lake
):
    walking = canary((1.0, 1), (10.0, 4))
    found, _ = strata(model, lake, walking, sides(), "2026-01-09")
    # The champion says 12 where the truth is 10.
    assert cut(found) == [(1, 0.0, 1, 3.0 - 2.0), (1, 0.0, 2, 1.0 - 2.0)]


def test_periods_that_were_closed_before_and_later_ones_do_not_count(model: Model, lake: Lake):
    walking = canary((1.0, 1))
    assert len(strata(model, lake, walking, sides(), "2026-01-08")[0]) == 0
    assert len(strata(model, lake, walking, sides(), "2026-01-10")[0]) == 2
    assert strata(model, Lake(lake.root + "-none"), walking, sides(), "2026-01-10") == ([], 0)


def test_a_subject_has_one_number_in_all_strata(model: Model, lake: Lake):
    found, _ = strata(model, lake, canary((1.0, 1)), sides(), "2026-01-10")
    first, second = (stratum.challenger.subjects for stratum in found)
    assert first is not None
    assert second is not None
    assert len(set(first)) == 3
    assert list(first) == list(second)
