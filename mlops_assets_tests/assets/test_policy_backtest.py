from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.policy_backtest import policy_backtest
from mlops_assets.resources import Stores
from mlops_assets_tests.backtested import rides
from mlops_assets_tests.loop import add_parcels, errors, read_model


def test_the_asset_shows_what_each_policy_would_have_done(tmp_path: Path):
    settings, model = rides(tmp_path, "2011-11-01")
    asset = policy_backtest(model)
    stores = {"stores": Stores.of(settings)}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asset], instance=instance, resources=stores)
    (event,) = result.asset_materializations_for_node("rides__policy_backtest")
    shown = event.metadata
    policies = [record.data["policy"] for record in shown["policies"].value.records]
    assert policies[-3:] == ["never", "always", "best dates"]
    assert {"benefit", "schedule", "performance", "drift", "rule_of_thumb"} == set(policies[:-3])
    assert len(shown["prices"].value.records) >= 3
    assert shown["periods"].value == 5
    assert Path(str(shown["report"].value)).read_text().startswith("<!DOCTYPE html>")
    assert shown["picture"].value.startswith("![policy backtest](data:image/png;base64,")


def test_an_empty_lake_fails_with_the_fix(tmp_path: Path):
    settings, model = rides(tmp_path, "2011-01-01")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [policy_backtest(model)],
            instance=instance,
            resources={"stores": Stores.of(settings)},
            raise_on_error=False,
        )
    assert not result.success
    assert "rides__ingest" in errors(result)


@pytest.mark.parametrize(("wait", "delay"), [("P3D", 3), ("PT0S", 0), ("PT13H", 1), ("PT11H", 0)])
def test_labels_are_as_late_as_the_monitoring_waits(tmp_path: Path, wait: str, delay: int):
    folder = add_parcels(tmp_path, "parcels", days=1, monitoring={"wait": wait, "min_rows": 100})
    assert read_model(folder).label_delay == delay
