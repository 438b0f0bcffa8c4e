"""Parts of the event time through the whole loop: lake, training, gates, endpoint, reports."""

from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.stores import monitoring
from mlops_assets.stores.bundles import load_scorer
from mlops_assets_tests.loop import History, Loop, checks, errors

DAY = "2026-01-09"


@pytest.fixture(scope="module")
def timed(loop: Loop) -> History:
    """Parcels whose model knows when they were sent."""
    return loop.history("timed", "2026-01-09", "2026-01-01", "2026-01-08")


@pytest.fixture(scope="module")
def answered(loop: Loop, timed: History) -> dict[str, dict[str, Any]]:
    """The answers to a day's parcels, by id."""
    requests = loop.requests("timed", DAY)
    assert set(requests[0]) == {"parcel", "sent_at", "zone", "weight"}
    answer = loop.serve("timed", DAY, requests)
    return dict(zip([str(r["parcel"]) for r in requests], answer["predictions"], strict=True))


def test_the_features_hold_the_hour_of_the_zones_clocks(loop: Loop, timed: History):
    rows = loop.stores.lake.read("timed", "features").to_pandas()
    local = rows["event_time"].dt.tz_convert("America/New_York")
    np.testing.assert_array_equal(rows["sent_hour"], local.dt.hour)
    np.testing.assert_array_equal(rows["sent_day"], rows["event_time"].dt.weekday)
    np.testing.assert_allclose(rows["clock_sin"], np.sin(local.dt.hour / 12 * np.pi), atol=1e-9)


def test_the_version_serves_as_it_was_trained(loop: Loop, timed: History):
    assert checks(timed.train)["serves_as_trained"].passed
    bundle = loop.stores.registry.cached_bundle("timed", "1", loop.stores.bundles)
    assert (bundle / "model.onnx").exists()


def test_the_endpoint_computes_what_the_lake_holds(loop: Loop, answered: dict[str, dict[str, Any]]):
    loop.at("2026-01-13")
    closed = loop.run("timed__close", DAY)
    assert closed.success, errors(closed)
    rows = loop.stores.lake.read("timed", "features", periods=[DAY]).to_pandas()
    bundle = loop.stores.registry.cached_bundle("timed", "1", loop.stores.bundles)
    scorer = load_scorer(bundle)
    outputs = scorer.score(as_arrays(model_frame(rows, scorer.contract.columns)))
    served = [answered[entity]["probability"]["1"] for entity in rows["entity"]]
    np.testing.assert_allclose(outputs[:, 1], served, atol=1e-12)
    log = monitoring.predictions_of(loop.model("timed"), loop.stores.lake, DAY)
    hours = log.set_index("entity")["sent_hour"].astype(float)
    np.testing.assert_array_equal(hours[rows["entity"]], rows["sent_hour"])
    drift = monitoring.kept(loop.stores.lake, "timed", "drift_reports")[DAY]
    assert not {"sent_hour", "sent_day"} & set(drift["flagged"])


def test_a_request_without_the_time_is_told_so(loop: Loop, timed: History):
    record = {"parcel": "1", "zone": "near", "weight": 1.0}
    with pytest.raises(AssertionError, match=r"records\[0\]\.sent_at.*timed computes sent_hour"):
        loop.serve("timed", "no-time", [record])
