"""What the README says that one short defs.yaml gives: assets, checks, jobs, sensors, schedule."""

import re
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets_tests.loop import SHIPPED, load

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
# An asset and its check that only models with such a section have.
WITH_HISTORY = ("online_history", "published_in_time")
WITH_CANARY = ("canary", "challenger_holds")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """Those of the README's whole defs.yaml, in a folder that has the example data above it."""
    home = tmp_path_factory.mktemp("readme")
    (home / "data").symlink_to(SHIPPED.parent / "data")
    folder = home / "defs" / "busy_hours"
    folder.mkdir(parents=True)
    (spec,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    (folder / "defs.yaml").write_text(spec)
    return load(home, folder.parent)


def checks_of(definitions: dg.Definitions) -> set[str]:
    return {key.name for key in definitions.resolve_asset_graph().asset_check_keys}


def assets_of(definitions: dg.Definitions) -> set[str]:
    return {spec.key.path[-1] for spec in definitions.resolve_all_asset_specs()}


def test_the_readme_counts_what_its_spec_gives(definitions: dg.Definitions):
    repository = definitions.get_repository_def()
    own = "busy_hours__"
    jobs = {job.name.removeprefix(own) for job in repository.get_all_jobs() if own in job.name}
    sensors = {one.name.removeprefix(own) for one in repository.sensor_defs if own in one.name}
    (told,) = re.findall(r"From these lines you get (.*?), and an endpoint", TEXT)
    counts = [int(number) for number in re.findall(r"\d+", told)]
    assert counts == [
        len(assets_of(definitions)),
        len(checks_of(definitions)),
        len(jobs),
        len(sensors),
        len(repository.schedule_defs),
    ]
    assert set(re.findall(r"`(\w+)`", told)) == jobs | sensors


def test_the_readme_lists_every_asset_and_every_check(definitions: dg.Definitions):
    table = TEXT.partition("| asset | group |")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    listed = {row[0].strip(" `") for row in rows}
    assert listed == assets_of(definitions) | {WITH_HISTORY[0], WITH_CANARY[0]}
    checks = {name for row in rows for name in re.findall(r"`(\w+)`", row[-1])}
    assert checks == checks_of(definitions) | {WITH_HISTORY[1], WITH_CANARY[1]}
