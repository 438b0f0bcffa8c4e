import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_assets.settings import PROJECT_ROOT
from mlops_assets_tests.deploy import commands
from mlops_assets_tests.deploy.conftest import DEPLOY, walk
from mlops_assets_tests.deploy.test_compose import check_schema

FOLDER = PROJECT_ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def workflow(name: str) -> dict[Any, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text()))


def scripts(path: Path) -> list[str]:
    return [
        m["run"] for m in walk(yaml.safe_load(path.read_text())) if isinstance(m.get("run"), str)
    ]


@every_file
def test_a_workflow_fits_its_schema(path: Path):
    done = check_schema(path, "vendor.github-workflows")
    assert done.returncode == 0, done.stdout


def test_a_misspelt_key_would_not_fit(tmp_path: Path):
    bad = tmp_path / "ci.yml"
    bad.write_text((FOLDER / "ci.yml").read_text().replace("runs-on:", "run-on:"))
    assert check_schema(bad, "vendor.github-workflows").returncode != 0


@every_file
def test_a_workflow_has_no_rights_but_reading_and_pinned_actions(path: Path):
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {"contents": "read"}
    uses = [m["uses"] for m in walk(content) if "uses" in m]
    assert uses
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", one) for one in uses)
    assert "pull_request_target" not in path.read_text()
    for job in content["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 240
    checkouts = [m for m in walk(content) if m.get("uses", "").startswith("actions/checkout@")]
    assert {one["with"]["persist-credentials"] for one in checkouts} == {False}


@every_file
def test_no_script_is_put_together_from_what_a_person_typed(path: Path):
    """An expression inside `run` is pasted into the script: input becomes code."""
    found = scripts(path)
    assert found
    assert [one for one in found if "${{" in one] == []


@every_file
def test_paths_in_scripts_are_there(path: Path):
    mentioned = {
        word
        for script in scripts(path)
        for word in re.findall(r"(?<![\w./])(?:deploy|mlops_assets|\.ci)/[\w./*-]+", script)
    }
    assert mentioned
    for one in mentioned:
        assert list(PROJECT_ROOT.glob(one)), one


def test_ci_runs_everything_on_debian_as_the_script_wants():
    jobs = workflow("ci.yml")["jobs"]
    assert re.fullmatch(r"python:3\.11\.\d+-bookworm", jobs["tests"]["container"]["image"])
    assert any("bash .ci/run" in step.get("run", "") for step in jobs["tests"]["steps"])
    assert any("dg check defs" in step.get("run", "") for step in jobs["tests"]["steps"])
    built = " ".join(step.get("run", "") for step in jobs["deployment"]["steps"])
    for name in ("serving", "dagster"):
        assert f"--file deploy/docker/{name}.Dockerfile" in built


def test_a_release_waits_for_the_reviewers_and_takes_the_version_that_they_saw():
    jobs = workflow("release.yml")["jobs"]
    assert jobs["release"]["needs"] == "train"
    assert jobs["release"]["environment"] == "production"
    assert jobs["release"]["env"]["VERSION"] == "${{ needs.train.outputs.version }}"
    assert jobs["train"]["outputs"]["version"] == "${{ steps.challenger.outputs.version }}"
    run = " ".join(step.get("run", "") for step in jobs["release"]["steps"])
    assert '--version "$VERSION"' in run
    assert "GITHUB_STEP_SUMMARY" in run
    assert workflow("release.yml")["concurrency"]["cancel-in-progress"] is False


def in_the_container(script: str) -> list[list[str]]:
    """The commands that a script runs in the code server, with the variables filled in."""
    import shlex

    values = {"MODEL": "flight_delay", "VERSION": "4", "REASON": "better"}
    found = []
    for line in script.splitlines():
        if line.startswith("docker compose exec -T "):
            command = line.split(">")[0].removeprefix("docker compose exec -T ")
            words = shlex.split(command)
            filled = [re.sub(r"\$(\w+)", lambda m: values[m[1]], word) for word in words]
            found.append(filled)
    return found


def test_the_commands_of_a_release_are_the_codes(compose: dict[str, Any]):
    found = [one for s in scripts(FOLDER / "release.yml") for one in in_the_container(s)]
    assert len(found) == 3
    for service, *command in found:
        assert service in compose["services"]
        commands.check(command)


def test_a_release_trains_a_challenger_and_nothing_that_releases_it():
    import dagster as dg

    from mlops_assets.definitions import defs

    found = [one for s in scripts(FOLDER / "release.yml") for one in in_the_container(s)]
    (train,) = [command for command in found if "materialize" in command]
    selection = dg.AssetSelection.from_string(train[train.index("--select") + 1])
    graph = dg.Definitions.resolve_asset_graph(defs())
    keys = {key.to_user_string() for key in selection.resolve(graph)}
    assert keys == {"flight_delay/training_set", "flight_delay/challenger"}


VERSION = {
    "version": "4",
    "gates": "passed",
    "estimator": "ridge alpha=1",
    "judged_against": "3",
    "created_at": "2026-11-25T00:00:00+00:00",
    "released_at": "",
    "loop_time": "",
}


def status(**changes: Any) -> dict[str, Any]:
    model = {
        "model": "flight_delay",
        "champion": {**VERSION, "version": "3"},
        "challenger": VERSION,
        "previous_champion": None,
        "can_be_released": True,
        "periods": 8,
        "newest_period": "2013-07-01",
        "drift": None,
        "performance": None,
        "decision": {"action": "retrain", "reasons": ["a|b `<script>`"]},
    }
    return {"models": [{"model": "other"}, {**model, **changes}]}


def summary(tmp_path: Path, content: Any, *options: str) -> "subprocess.CompletedProcess[str]":
    file = tmp_path / "content.json"
    file.write_text(json.dumps(content))
    script = DEPLOY / "release_summary.py"
    # -I: none of the project's packages, as on a runner.
    command = [sys.executable, "-I", script, "flight_delay", file, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_reviewers_see_challenger_and_champion(tmp_path: Path):
    done = summary(tmp_path, status())
    assert done.returncode == 0
    assert "the challenger may be released" in done.stdout
    assert "| version | 4 | 3 |  |" in done.stdout
    assert "<script>" not in done.stdout
    assert r"a\|b \`&lt;script&gt;\`" in done.stdout


def test_a_challenger_that_failed_its_gates_ends_the_workflow(tmp_path: Path):
    content = status(can_be_released=False)
    done = summary(tmp_path, content)
    assert done.returncode == 1
    assert "**may not be released**" in done.stdout
    assert "has not passed its gates" in done.stderr
    assert summary(tmp_path, content, "--version-output").stdout == ""


def test_the_version_goes_to_the_next_job_and_can_carry_nothing_else(tmp_path: Path):
    assert summary(tmp_path, status(), "--version-output").stdout == "version=4\n"
    hostile = status(challenger={**VERSION, "version": "4\nversion=9"})
    done = summary(tmp_path, hostile, "--version-output")
    assert (done.returncode, done.stdout) == (1, "")


def test_the_release_record_shows_its_evidence(tmp_path: Path):
    record = {
        "model": "flight_delay",
        "to_version": "4",
        "from_version": "3",
        "evidence": {"parity": "100%"},
    }
    done = summary(tmp_path, record)
    assert "## flight\\_delay: version 4 is the champion" in done.stdout
    assert "| parity | 100% |" in done.stdout
