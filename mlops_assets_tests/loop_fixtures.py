"""Fixtures of a whole loop, made once per session and only if a test asks for them."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlops_assets_tests.loop import History, Loop


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is ready for Dagster and MLflow, to be copied: making one takes seconds."""
    from mlops_assets.cli.home import prepare_home
    from mlops_assets.settings import Settings

    home = tmp_path_factory.mktemp("prepared") / "home"
    prepare_home(Settings(home=home, tracking_uri="", lake_uri=""))
    return home


@pytest.fixture(scope="session")
def loop(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Loop"]:
    """A prepared home with real stores and every model that the tests of assets need."""
    import dagster as dg

    from mlops_assets.cli.home import prepare_home
    from mlops_assets.settings import Settings
    from mlops_assets_tests.loop import Loop, environment
    from mlops_assets_tests.scenarios import add_scenarios

    root = tmp_path_factory.mktemp("loop")
    settings = Settings(home=root / "home", tracking_uri="", lake_uri="")
    shutil.copytree(prepared_home, settings.home)
    prepare_home(settings)
    add_scenarios(root / "models")
    # A run logs every event; what failed is in its result.
    logger = logging.getLogger("dagster")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    # MLflow keeps its address in the environment, which later tests must not inherit.
    with (
        environment(**dict(os.environ)),
        dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance,
    ):
        yield Loop(settings, root / "models", instance)
    logger.setLevel(level)


@pytest.fixture(scope="session")
def bikes(loop: "Loop") -> "History":
    """bike_demand as shipped: seven months ingested, one version trained and released."""
    return loop.history("bike_demand", "2011-08-02", "2011-01-01", "2011-07-01")


@pytest.fixture(scope="session")
def flights(loop: "Loop") -> "History":
    """flight_delay, shortened: six weeks ingested, one version trained and released."""
    return loop.history("flight_delay", "2013-06-18", "2013-05-06", "2013-06-10")


@pytest.fixture(scope="session")
def parcels(loop: "Loop") -> "History":
    """Small made-up parcels whose labels come late: one version of the five matured days."""
    return loop.history("parcels", "2026-01-09", "2026-01-01", "2026-01-08")
