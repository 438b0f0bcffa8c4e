import dagster as dg
import pytest

from mlops_assets.cli.observing import observe
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings


def test_an_observation_is_on_the_asset(prepared: Settings):
    observe(prepared, "parcels", "champion", "put aside", {"actor": "ann@cli"}, done="it is done")
    with dg.DagsterInstance.from_config(str(prepared.dagster_home)) as instance:
        found = instance.fetch_observations(dg.AssetKey(["parcels", "champion"]), limit=1).records
    assert found[0].asset_observation.description == "put aside"


def test_a_dagster_that_cannot_be_told_is_an_error_that_says_what_is_done(prepared: Settings):
    (prepared.dagster_home / "dagster.yaml").write_text("nonsense: {}\n")
    with pytest.raises(ServiceError, match="it is done; only the event for the Dagster UI"):
        observe(prepared, "parcels", "champion", "put aside", {}, done="it is done")
