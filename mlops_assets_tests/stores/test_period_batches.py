"""The rows of a period as drift sees them equal what the whole table in memory gives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_assets.domain.answer_columns import PREDICTED, SCORE, answer_columns
from mlops_assets.domain.coded import Coded
from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.drift import judge
from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.domain.period_summary import Batch, summarise
from mlops_assets.domain.profile import Profile, build
from mlops_assets.stores import lake as lakes
from mlops_assets.stores.lake import PERIOD, Lake
from mlops_assets.stores.period_batches import most_served_version, served_batches

COLUMNS = (
    ContractColumn("distance", "number", True),
    ContractColumn("seats", "integer", False),
    ContractColumn("night", "boolean", False),
    ContractColumn("carrier", "category", True),
)
CONTRACT = Contract("letters", "binary", COLUMNS, ("0", "1"), "id", "at", 100)
LIMITS = {"false_alarm_rate": 0.01, "min_effect": 0.1, "min_rows": 10}


def served(rows: int, seed: int, version: str = "1", variant: str = "champion") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 3, rows)
    return pd.DataFrame(
        {
            "prediction_id": [f"r{seed}-{row}" for row in range(rows)],
            "version": version,
            "variant": variant,
            "p_0": 1 - score,
            "p_1": score,
            "distance": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(700, 90, rows)),
            "seats": rng.integers(1, 300, rows).astype(float),
            "night": (rng.random(rows) < 0.4).astype(float),
            "carrier": rng.choice(np.array(["AA", "B6", "é<", None], dtype=object), rows),
        }
    )


def kept(lake: Lake, frame: pd.DataFrame, source: str, period: str = "2026-01-01") -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.append_column(PERIOD, pa.array([period] * len(frame), pa.string()))
    lake.append_once("letters", "predictions", table, source=source, position=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(str(tmp_path / "a lake"))
    kept(found, served(3000, 0), "a")
    kept(found, served(2000, 1), "b")
    kept(found, served(400, 2, variant="shadow"), "c")
    kept(found, served(300, 3, version="2"), "d")
    kept(found, served(9000, 4, version="2"), "e", period="2026-01-02")
    return found


def in_memory(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    outputs = frame[["p_0", "p_1"]].to_numpy()
    return {
        **as_arrays(model_frame(frame, COLUMNS)),
        **answer_columns(outputs, CONTRACT.classes),
    }


def reference() -> Profile:
    frame = served(4000, 9)
    columns = as_arrays(model_frame(frame, COLUMNS))
    return build(columns, COLUMNS, frame[["p_0", "p_1"]].to_numpy(), CONTRACT.classes)


def test_the_batches_hold_what_champions_of_the_version_answered_in_the_period(lake: Lake):
    batches = list(served_batches(lake, CONTRACT, "1", "2026-01-01"))
    expected = in_memory(pd.concat([served(3000, 0), served(2000, 1)]))
    assert set(expected) == {"distance", "seats", "night", "carrier", SCORE, PREDICTED}
    for name, values in expected.items():
        parts = [batch.columns[name] for batch in batches]
        found = np.concatenate([p.texts() if isinstance(p, Coded) else p for p in parts])
        assert sorted(map(str, found)) == sorted(map(str, values)), name
    keys = [batch.keys for batch in batches if batch.keys is not None]
    assert len(np.unique(np.concatenate(keys))) == 5000


def test_small_batches_give_the_report_of_the_table_in_memory(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    profile = reference()
    whole = summarise(profile, served_batches(lake, CONTRACT, "1", "2026-01-01"), seed=1)
    frame = pd.concat([served(3000, 0), served(2000, 1)])
    in_one = summarise(profile, [Batch(in_memory(frame))], seed=1)
    monkeypatch.setattr(lakes, "BATCH_ROWS", 64)
    small = summarise(profile, served_batches(lake, CONTRACT, "1", "2026-01-01"), seed=1)
    assert whole.rows == small.rows == 5000
    for name, values in whole.sample.items():
        np.testing.assert_array_equal(values, small.sample[name])
    reports = [judge(profile, one, **LIMITS) for one in (whole, small, in_one)]  # type: ignore[arg-type]
    assert reports[0] == reports[1] == reports[2]


def test_categories_stay_coded_on_the_way_from_the_files(lake: Lake):
    (batch, *_) = lake.batches(
        "letters",
        "predictions",
        periods=["2026-01-01"],
        columns=["carrier"],
        dictionaries=["carrier"],
    )
    assert pa.types.is_dictionary(batch.column("carrier").type)


def test_the_version_that_champions_answered_most_with_is_judged(lake: Lake):
    assert most_served_version(lake, "letters", "2026-01-01") == "1"
    assert most_served_version(lake, "letters", "2026-01-02") == "2"
    assert most_served_version(lake, "letters", "2026-01-03") == ""
    assert most_served_version(lake, "other", "2026-01-01") == ""


def test_of_versions_that_answered_equally_often_the_newer_is_judged(tmp_path: Path):
    lake = Lake(str(tmp_path))
    kept(lake, served(20, 0, version="9"), "a")
    kept(lake, served(20, 1, version="10"), "b")
    assert most_served_version(lake, "letters", "2026-01-01") == "10"
