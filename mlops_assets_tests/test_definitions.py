import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from mlops_assets_tests.loop import SHIPPED, load

ROOT = Path(__file__).parent.parent
HEAVY = """
import sys
from mlops_assets.definitions import defs
defs().get_repository_def().load_all_definitions()
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """The definitions as shipped; loading checks that they fit together."""
    return load(tmp_path_factory.mktemp("home"), SHIPPED)


def test_the_definitions_are_as_reviewed(definitions: dg.Definitions, snapshot: SnapshotAssertion):
    def job(found: Any) -> list[str]:
        return sorted(key.to_user_string() for key in found.asset_layer.executable_asset_keys)

    repository = definitions.get_repository_def()
    assert snapshot == {
        "assets": {
            spec.key.to_user_string(): {
                "group": spec.group_name,
                "kinds": sorted(spec.kinds),
                "owners": list(spec.owners),
                "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else "",
                "after": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            }
            for spec in definitions.resolve_all_asset_specs()
        },
        "checks": sorted(
            f"{key.asset_key.to_user_string()}: {key.name}"
            for key in definitions.resolve_asset_graph().asset_check_keys
        ),
        "jobs": {
            found.name: job(found)
            for found in repository.get_all_jobs()
            if not found.name.startswith("__")
        },
        "schedules": {
            found.name: {"cron": found.cron_schedule, "on": found.default_status.value}
            for found in repository.schedule_defs
        },
        "sensors": {
            found.name: {
                "jobs": sorted(target.job_name for target in found.targets if target.job_name),
                "on": found.default_status.value,
            }
            for found in repository.sensor_defs
        },
    }


def test_every_asset_says_what_it_is_and_whose(definitions: dg.Definitions):
    specs = list(definitions.resolve_all_asset_specs())
    assert len(specs) == 32
    for spec in specs:
        name = spec.key.to_user_string()
        assert len(spec.description or "") > 30, name
        assert spec.group_name in {"data", "training", "release", "monitoring", "batch"}, name
        assert spec.kinds, name
        assert spec.owners == ["team:operations"], name
        assert spec.code_version, name


def test_gates_and_the_data_contract_block_and_reports_only_warn(definitions: dg.Definitions):
    blocking = {
        spec.name
        for found in definitions.resolve_asset_graph().assets_defs
        for spec in found.check_specs
        if spec.blocking
    }
    assert blocking == {
        "contract",
        "minimum_quality",
        "not_worse_than_champion",
        "slices_hold",
        "calibrated",
        "serves_as_trained",
        "documented",
    }


def test_only_the_training_closes_mlflow_runs(definitions: dg.Definitions):
    hooked = {job.name for job in definitions.get_repository_def().get_all_jobs() if job.hook_defs}
    assert hooked == {"bike_demand__train", "flight_delay__train"}


def test_loading_the_definitions_imports_no_heavy_library():
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HEAVY],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=120,
    )
    loaded = set(found.stdout.split())
    assert {"dagster", "mlops_assets"} <= loaded
    assert not loaded & {"mlflow", "dagster_mlflow", "ray", "evidently", "sklearn", "matplotlib"}
