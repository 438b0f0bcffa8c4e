import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.domain.plan import SPLIT_TAG
from mlops_assets.stores import monitoring
from mlops_assets.stores.canaries import TAG, Canaries
from mlops_assets_tests.loop import Loop, add_parcels, checks, errors, parcels

WALKER, FALLER = "walker", "faller"
# So few rows that 1% of them would take most of the time after which a canary is given up.
ROWS, FEW = 5_000, 700
TRAINING = {
    "window": {"last": 2, "min": 2},
    "validation": 1,
    "holdout": 2,
    "candidates": [{"estimator": "logistic_regression"}],
}
# Clients may send any time.
ODD = ("0001-01-01", "2026-03-01", "9998-01-01", "9999-12-31T23:59:59Z")
CANARY = {"serving": {"canary": "auto"}, "training": TRAINING}


@dataclass(frozen=True)
class Day:
    """A day that was served at some split, and the run that closed it."""

    answers: list[Mapping[str, Any]]
    result: dg.ExecuteInProcessResult
    split: dict[str, Any]
    told: str

    @property
    def by_variant(self) -> Counter[str]:
        return Counter(str(answer["variant"]) for answer in self.answers)


def split(loop: Loop, model: str) -> dict[str, Any]:
    """The split that the registry says."""
    return dict(json.loads(loop.stores.registry.model_tags(model).get(SPLIT_TAG, "{}")))


def challenge(loop: Loop, model: str, now: str, first: str, last: str) -> Any:
    """Ingest some days and train on the newest."""
    loop.at(now)
    assert loop.run(f"{model}__ingest", first, last).success
    return loop.run(f"{model}__train", tags={"mlops/reason": "a test"})


def live(loop: Loop, model: str, day: int) -> Day:
    """Serve a day of January, wait for its labels, close it, and let the sensor look."""
    period = f"2026-01-{day:02}"
    loop.serve(model, period, loop.requests(model, period))
    loop.at(f"2026-01-{day + 4:02}")
    result = loop.run(f"{model}__close", period)
    assert result.success, errors(result)
    answers = monitoring.answers_of(loop.model(model), loop.stores.lake, period)
    told = str(loop.tick(f"{model}__retrain").skip_message)
    return Day(answers.to_dict("records"), result, split(loop, model), told)


@pytest.fixture(scope="module")
def own(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Two models with canaries; the faller's parcels are routed otherwise for five days."""
    models: Path = tmp_path_factory.mktemp("canaries")
    # Every period decides for a retrain, which has to wait for the canary.
    rules = {"policy": "schedule", "every": 1, "cooldown": 0}
    add_parcels(models, WALKER, parcels(12, 0, ROWS, range(0)), retraining=rules, **CANARY)
    add_parcels(models, FALLER, parcels(13, 1, FEW, range(6, 11)), **CANARY)
    return Loop(loop.settings, models, loop.instance)


@pytest.fixture(scope="module")
def begun(own: Loop) -> tuple[Loop, dg.ExecuteInProcessResult]:
    """The walker's second version, trained on a day more than the first."""
    first = challenge(own, WALKER, "2026-01-10", "2026-01-01", "2026-01-06")
    assert first.success, errors(first)
    assert own.alias(WALKER) == "1"
    second = challenge(own, WALKER, "2026-01-11", "2026-01-07", "2026-01-07")
    assert second.success, errors(second)
    return own, second


@pytest.fixture(scope="module")
def walked(begun: tuple[Loop, dg.ExecuteInProcessResult]) -> tuple[Loop, list[Day]]:
    """Three days, each served at the share that the day before had led to."""
    own, _ = begun
    assert split(own, WALKER) == {"challenger": {"weight": 1.0, "version": "2"}}
    return own, [live(own, WALKER, day) for day in (8, 9, 10)]


def test_the_first_version_is_released_at_once_and_the_next_gets_a_percent(
    begun: tuple[Loop, dg.ExecuteInProcessResult],
):
    own, _ = begun
    records = own.stores.releases.history(WALKER)
    assert [(r.from_version, r.to_version) for r in records][:1] == [("", "1")]
    shown = own.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey([WALKER, "champion"])), limit=9, ascending=True
    ).records[1]
    metadata = shown.asset_materialization.metadata
    assert (metadata["version"].value, metadata["canary"].value) == ("1", "2")
    assert metadata["canary_weight"].value == 1.0
    assert "a test" in metadata["reason"].value


def test_a_good_challenger_walks_to_everything(walked: tuple[Loop, list[Day]]):
    own, days = walked
    weights = [found.split.get("challenger", {}).get("weight") for found in days]
    assert weights == [10.0, 50.0, None]
    shares = [found.by_variant["challenger"] / ROWS for found in days]
    assert shares == pytest.approx([0.01, 0.1, 0.5], rel=0.3)
    assert own.alias(WALKER) == "2"
    record = own.stores.releases.history(WALKER)[-1]
    assert (record.actor, record.from_version, record.to_version) == ("canary", "1", "2")
    assert "surely not worse than the margin" in record.reason
    evidence = record.evidence_values
    assert list(evidence["canary"]["steps"]) == ["1%", "10%", "50%"]
    assert evidence["canary"]["n_challenger"] > 0.5 * ROWS
    assert evidence["training_set"]
    known = Canaries(own.stores.registry).of(WALKER)
    assert known is not None
    assert known.status == "promoted"
    champion = own.materialization(WALKER, "champion").metadata
    assert (champion["version"].value, champion["release"].value) == ("2", record.id)


def test_the_champions_reports_are_of_its_own_answers_only(walked: tuple[Loop, list[Day]]):
    own, days = walked
    for day, found in zip((8, 9, 10), days, strict=True):
        period = f"2026-01-{day:02}"
        champion = found.by_variant["champion"]
        assert champion + found.by_variant["challenger"] == ROWS
        told = own.materialization(WALKER, "performance_report", period).metadata
        assert (told["version"].value, told["predictions"].value) == ("1", champion)
        assert own.materialization(WALKER, "drift_report", period).metadata["rows"].value == (
            champion
        )
        shown = own.materialization(WALKER, "predictions", period).metadata
        assert shown["dagster/row_count"].value == ROWS
        assert shown["by_variant"].value == dict(found.by_variant)


def test_no_retrain_starts_while_a_canary_is_under_way(walked: tuple[Loop, list[Day]]):
    _, days = walked
    assert "first the canary of version 2 against 1, at 10%, has to end" in days[0].told
    assert "at 50%, has to end" in days[1].told
    assert "version 2 serves now" in days[2].told


def test_each_look_says_why(walked: tuple[Loop, list[Day]]):
    own, days = walked
    found = [checks(day.result)["challenger_holds"] for day in days]
    assert all(check.passed for check in found)
    assert "no harm proven at 1%" in str(found[0].description)
    shown = own.materialization(WALKER, "canary", "2026-01-09").metadata
    assert (shown["action"].value, shown["weight"].value) == ("advance", 50.0)
    assert shown["low"].value < shown["difference"].value < shown["high"].value


def test_closing_a_day_again_moves_nothing(walked: tuple[Loop, list[Day]]):
    own, _ = walked
    history, tags = own.stores.releases.history(WALKER), own.stores.registry.model_tags(WALKER)
    shown = own.materialization(WALKER, "canary", "2026-01-10").metadata
    again = own.run(f"{WALKER}__close", "2026-01-10")
    assert again.success, errors(again)
    assert own.stores.releases.history(WALKER) == history
    assert own.stores.registry.model_tags(WALKER) == tags
    told = own.materialization(WALKER, "canary", "2026-01-10").metadata
    assert told["reason"].value == shown["reason"].value


@pytest.fixture(scope="module")
def harmful(own: Loop) -> Loop:
    """The faller's second version, which passed its gates on days that will not come again."""
    first = challenge(own, FALLER, "2026-01-10", "2026-01-01", "2026-01-06")
    assert first.success, errors(first)
    odd = [
        {**row, "sent_at": at}
        for row, at in zip(own.requests(FALLER, "2026-01-07"), ODD, strict=False)
    ]
    own.serve(FALLER, "2026-01-07", odd)
    live(own, FALLER, 7)
    second = challenge(own, FALLER, "2026-01-15", "2026-01-08", "2026-01-11")
    assert second.success, errors(second)
    assert all(check.passed for check in checks(second).values()), "the gates could not know"
    # Of 700 requests a day, a percent would tell nothing for a week: it begins with ten.
    assert split(own, FALLER) == {"challenger": {"weight": 10.0, "version": "2"}}
    return own


def test_a_split_that_a_person_changes_ends_the_canary_and_stays(harmful: Loop):
    own, registry = harmful, harmful.stores.registry
    second = own.materialize(FALLER, "champion")
    assert not second.success
    assert "canary of version 2 against 1, at 10%, is under way" in errors(second)
    # A beginning that was killed before it had set the split is made good by the next.
    registry.set_model_tag(FALLER, SPLIT_TAG, "")
    assert own.materialize(FALLER, "champion").success
    assert split(own, FALLER)["challenger"]["weight"] == 10.0
    by_hand = '{"challenger": {"version": "2", "weight": 30.0}}'
    registry.set_model_tag(FALLER, SPLIT_TAG, by_hand)
    result = own.run(f"{FALLER}__close", "2026-01-08")
    assert result.success, errors(result)
    told = own.materialization(FALLER, "canary", "2026-01-08").metadata
    assert told["action"].value == "stop"
    assert told["reason"].value == "the split was changed to challenger=30"
    assert registry.model_tags(FALLER)[SPLIT_TAG] == by_hand
    assert not registry.version(FALLER, "2").quarantined


def test_a_challenger_that_does_harm_is_stopped_and_quarantined(harmful: Loop):
    own = harmful
    if Canaries(own.stores.registry).running(FALLER) is None:
        # Ended by hand, and begun again by a person.
        own.stores.registry.set_model_tag(FALLER, SPLIT_TAG, "")
        assert own.materialize(FALLER, "champion").success
    day = live(own, FALLER, 12)
    assert day.by_variant["challenger"] == pytest.approx(0.1 * FEW, rel=0.3)
    assert day.split == {}
    assert own.alias(FALLER) == "1"
    check = checks(day.result)["challenger_holds"]
    assert not check.passed
    assert str(check.description).startswith("surely worse")
    held = own.stores.registry.version(FALLER, "2").quarantined
    assert held.startswith("loss: surely worse")
    incident = own.stores.releases.incidents(FALLER)[-1]
    assert (incident.version, incident.kind, incident.actor) == ("2", "loss", "canary")
    assert incident.evidence_values["canary"]["verdict"] == "worse"
    # The same version does not walk again.
    again = own.materialize(FALLER, "champion")
    assert not again.success
    assert "may not serve: loss: surely worse" in errors(again)


def test_a_canary_that_is_none_is_told_with_its_tag(own: Loop, walked: tuple[Loop, list[Day]]):
    from mlops_assets.domain.errors import ReleaseError

    registry = own.stores.registry
    kept = registry.model_tags(WALKER)[TAG]
    registry.set_model_tag(WALKER, TAG, '{"steps": 1}')
    try:
        with pytest.raises(ReleaseError, match=r"serving\.canary of walker .* remove it"):
            Canaries(registry).of(WALKER)
    finally:
        registry.set_model_tag(WALKER, TAG, kept)
