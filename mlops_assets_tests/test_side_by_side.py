"""Two models in one home: whatever is done with one of them, the other stays as it is."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_assets.stores.retirements import Retirements
from mlops_assets_tests.loop import History, Loop, add_parcels, errors
from serving.follower import Follower

BYSTANDER, ACTOR = "parcels", "neighbour"
NOW = datetime(2026, 1, 14, tzinfo=UTC)
BY = {"actor": "test", "at": NOW, "loop_time": NOW}


def state_of(loop: Loop, model: str, pointer: Mapping[str, Any]) -> dict[str, Any]:
    """All that there is of a model, from its tables to its runs."""
    stores = loop.stores
    registry, log = stores.registry, stores.prediction_log(model)
    return {
        "tables": loop.lake_versions(model),
        "versions": [asdict(one) for one in registry.versions(model)],
        "aliases": registry.aliases(model),
        "tags": registry.model_tags(model),
        "releases": stores.releases.history(model),
        "attempts": stores.releases.attempts(model),
        "log": {path.name: path.read_bytes() for path in sorted(log.glob("*"))},
        "pointer": pointer["models"].get(model),
        "retired": pointer.get("retired", {}).get(model),
        "mlflow": sorted(
            run.info.run_id for run in loop.mlflow_runs(f"tags.`mlops/model` = '{model}'")
        ),
        "dagster": sorted(
            record.dagster_run.run_id
            for record in loop.instance.get_run_records()
            if record.dagster_run.tags.get("mlops/model") == model
        ),
    }


def test_nothing_that_is_done_with_one_model_touches_the_other(
    loop: Loop, parcels: History, tmp_path: Path
):
    folder = add_parcels(tmp_path / "models", ACTOR, days=11, gates={"margin": 5})
    assert folder.is_dir()
    definitions = loop.load(tmp_path / "models")
    pointer = tmp_path / "state.json"
    follower = Follower(loop.stores.registry, loop.stores.bundles, pointer)

    def published() -> dict[str, Any]:
        follower.step()
        return dict(json.loads(pointer.read_text()))

    before = state_of(loop, BYSTANDER, published())
    assert before["pointer"]["version"] == loop.alias(BYSTANDER)

    def unchanged() -> dict[str, Any]:
        found = published()
        assert state_of(loop, BYSTANDER, found) == before
        return dict(found["models"].get(ACTOR) or {})

    def run(job: str, *periods: str) -> None:
        result = loop.run(f"{ACTOR}__{job}", *periods, definitions=definitions)
        assert result.success, errors(result)

    loop.at("2026-01-09")
    run("ingest", "2026-01-01", "2026-01-08")
    run("train")
    assert unchanged()["version"] == "1"
    run("train")
    assert unchanged()["version"] == "2"
    releases = loop.stores.releases
    releases.rollback(ACTOR, reason="", **BY)
    assert unchanged()["version"] == "1"
    record = {"parcel": 1, "sent_at": "2026-01-09T08:00:00Z", "zone": "near", "weight": 1.0}
    loop.serve(ACTOR, "2026-01-09", [record])
    loop.at("2026-01-13")
    run("close", "2026-01-09")
    unchanged()
    Retirements(releases).retire(ACTOR, reason="", **BY)
    assert unchanged() == {}
    assert json.loads(pointer.read_text())["retired"][ACTOR] == NOW.isoformat()
    Retirements(releases).bring_back(ACTOR, reason="", **BY)
    assert unchanged()["version"] == "1"
