"""The loop once end to end: real Dagster daemon, real Ray Serve, HTTP, SIGTERM, nothing left."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mlops_assets_tests.live import Lived, live
from mlops_assets_tests.loop import add_parcels

# Eight days of real runs take minutes, and longer where another worker tests beside.
pytestmark = [pytest.mark.loop, pytest.mark.timeout(900)]
START = datetime(2026, 1, 9, tzinfo=UTC)
END = datetime(2026, 1, 17, tzinfo=UTC)


@pytest.fixture(scope="module")
def lived(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Eight days of parcels against real servers; near ones take the longest from the twelfth."""
    root = tmp_path_factory.mktemp("live")
    # The past of a zone is looked up. A calendar, so what happens on which day does not depend on
    # what a retrain is worth; the one of the fourteenth is trained on the days before and after
    # the change.
    add_parcels(
        root / "models",
        "parcels",
        days=18,
        label={"column": "hours", "above": 24, "known_after": "PT3H"},
        history=[
            {
                "name": "zone_weight",
                "entity": "zone",
                "aggregate": "mean",
                "column": "weight",
                "window": "2d",
            }
        ],
        monitoring={"wait": "PT6H", "min_rows": 100},
        training={
            "window": {"min": 2, "last": 2},
            "validation": 1,
            "holdout": 1,
            "candidates": [{"estimator": "logistic_regression", "grid": [{"C": [0.0001, 1.0]}]}],
        },
        gates={"margin": 0.5},
        retraining={"policy": "schedule", "every": 2, "rollback_periods": 0},
    )
    return live(root, prepared_home, "parcels", START, END)


def test_no_request_fails_while_a_version_is_trained_released_and_swapped(lived: Lived):
    rows = lived.rows
    assert sum(row.requests for row in rows) > 100
    assert [row.failed for row in rows] == [0] * len(rows)
    assert any(row.action == "retrain" for row in rows)
    assert any(row.action == "nothing" for row in rows)
    assert any(row.swap_seconds is not None for row in rows)
    assert int(rows[-1].version) > 1


def test_the_release_after_the_change_beats_the_first_version(lived: Lived):
    last = lived.rows[-1]
    assert last.loss_live < last.loss_first


def test_every_answer_is_in_the_lake_exactly_once(lived: Lived):
    kept = lived.stores.lake.read(lived.model.name, "predictions").to_pandas()
    assert len(kept) == sum(row.served for row in lived.rows)
    assert kept["prediction_id"].is_unique


def test_what_was_answered_over_http_is_what_the_fitted_pipeline_says(lived: Lived):
    from mlops_assets.domain.contract import Contract
    from mlops_assets.domain.features import as_arrays, model_frame
    from mlops_assets.stores.bundles import SkopsScorer
    from mlops_assets.stores.prediction_log import output_columns

    stores, model = lived.stores, lived.model
    kept = stores.lake.read(model.name, "predictions").to_pandas()
    for version, served in kept.groupby("version"):
        bundle: Path = stores.registry.cached_bundle(model.name, str(version), stores.bundles)
        contract = Contract.from_json((bundle / "contract.json").read_bytes())
        # The features as they are in the lake, not as they were sent: both must mean the same.
        features = stores.lake.read(model.name, "features").to_pandas()
        both = served[["entity", "event_time", *output_columns(contract)]].merge(
            features, on=["entity", "event_time"]
        )
        assert len(both) == len(served)
        frame = model_frame(both, contract.columns)
        expected = SkopsScorer(contract, bundle / "model.skops").score(as_arrays(frame))
        difference = np.abs(expected - both[output_columns(contract)].to_numpy()).max(axis=1)
        assert (difference <= 1e-5).mean() >= 0.999
        assert difference.max() <= 0.01


def test_what_was_looked_up_is_what_the_lake_has_of_each_day(lived: Lived):
    """Days that were over were ingested and published before requests came."""
    lake, keys = lived.stores.lake, ["entity", "event_time"]
    served = lake.read(lived.model.name, "predictions").to_pandas()
    features = lake.read(lived.model.name, "features").to_pandas()
    both = served.merge(features[[*keys, "zone_weight"]], on=keys, suffixes=("", "_in_the_lake"))
    assert len(both) == len(served)
    assert both["zone_weight"].nunique() > 20
    np.testing.assert_array_equal(both["zone_weight"], both["zone_weight_in_the_lake"])


def test_nothing_is_left_behind(lived: Lived):
    assert lived.left == []
