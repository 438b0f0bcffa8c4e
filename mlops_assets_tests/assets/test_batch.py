import dagster as dg
import numpy as np

from mlops_assets.domain.features import as_arrays, model_frame
from mlops_assets.stores.bundles import load_scorer
from mlops_assets.stores.tables import to_frame
from mlops_assets_tests.loop import History, Loop, errors

TABLE = "batch_predictions"


def materialize(loop: Loop, model: str, period: str) -> dg.ExecuteInProcessResult:
    return loop.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=loop.instance,
        asset_selection=[dg.AssetKey([model, TABLE])],
        partition_key=period,
        raise_on_error=False,
    )


def test_a_period_is_scored_with_the_champions_bundle_and_tells_the_version(
    loop: Loop, parcels: History
):
    result = materialize(loop, "parcels", "2026-01-05")
    assert result.success, errors(result)
    lake, champion = loop.stores.lake, loop.alias("parcels")
    found = lake.read("parcels", TABLE, periods=["2026-01-05"])
    features = lake.read("parcels", "features", periods=["2026-01-05"])
    assert found.num_rows == features.num_rows > 100
    assert set(found["version"].to_pylist()) == {champion}
    assert found["entity"].to_pylist() == features["entity"].to_pylist()
    folder = loop.stores.registry.cached_bundle("parcels", champion, loop.stores.bundles)
    scorer = load_scorer(folder)
    frame = model_frame(to_frame(features), scorer.contract.columns)
    expected = scorer.score(as_arrays(frame))
    np.testing.assert_array_equal(found["probability_1"].to_numpy(), expected[:, 1])
    labels = np.array(scorer.contract.classes)[expected.argmax(axis=1)]
    assert found["prediction"].to_pylist() == labels.tolist()
    shown = loop.materialization("parcels", TABLE, "2026-01-05").metadata
    assert shown["version"].value == champion


def test_scoring_a_period_again_changes_nothing(loop: Loop, bikes: History):
    first = materialize(loop, "bike_demand", bikes.last)
    assert first.success, errors(first)
    lake = loop.stores.lake
    version, data = (
        lake.version("bike_demand", TABLE),
        loop.data_version("bike_demand", TABLE, bikes.last),
    )
    assert materialize(loop, "bike_demand", bikes.last).success
    assert lake.version("bike_demand", TABLE) == version
    assert loop.data_version("bike_demand", TABLE, bikes.last) == data
    values = lake.read("bike_demand", TABLE, periods=[bikes.last])["prediction"].to_numpy()
    assert np.ptp(values) > 100


def test_without_a_champion_nothing_is_scored(loop: Loop):
    result = materialize(loop, "odd", "2026-01-01")
    assert not result.success
    assert "odd has no champion" in errors(result)
