"""What a replay needs before it begins; whole replays are in test_replay."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.cli.loops import Loop, Sent
from mlops_assets.cli.replaying import replay
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores.bundles import write_manifest
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.release_cause import Cause
from mlops_assets.stores.release_log import ReleaseLog
from mlops_assets_tests.loop import add_parcels, parcel_spec, read_model, utc
from mlops_assets_tests.regulars import add_regulars


class Asleep(Loop):
    """A loop whose sensors have nothing to do."""

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        return Sent()

    def settle(self, period: str | None) -> None:
        return None

    def finish(self) -> None:
        return None

    def acted_on(self, decision: str) -> bool:
        return False

    def swapped(self, version: str) -> float | None:
        return None


def test_a_replay_of_a_model_that_has_no_version_says_where_to_look(tmp_path: Path) -> None:
    model = read_model(add_parcels(tmp_path / "models", "parcels"))
    settings = Settings(home=tmp_path / "home")
    with pytest.raises(ServiceError, match=r"parcels has no released version.*mlops status"):
        next(replay(settings, model, Asleep(), ["2026-01-09"], lambda _: None))


class Watching(Asleep):
    """Notes what the clock says when it is asked to send, and when to settle."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.noted: list[tuple[str, datetime]] = []

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        self.noted.append(("send", self.clock.now()))
        return Sent()

    def settle(self, period: str | None) -> None:
        self.noted.append(("settle", self.clock.now()))


def released(home: Path, model: Model, was: Model | None = None) -> Settings:
    """A home in which a first version was released on the ninth, as the model `was` then."""
    settings, now = Settings(home=home), utc("2026-01-09")
    cause = Cause("sensor", "harm", now, now, "", {})
    ReleaseLog(Lake(settings.lake_root)).add(cause.record("release", model.name, 0, "", "1"))
    bundle = settings.bundle_cache / model.name / "1"
    bundle.mkdir(parents=True)
    contract = (was or model).spec.contract(model.name, ("0", "1"))
    (bundle / "contract.json").write_bytes(contract.to_json())
    for name in ("reference.json", "model.skops"):
        (bundle / name).touch()
    write_manifest(bundle, "skops", {})
    return settings


def test_what_is_over_is_published_before_requests_look_the_past_up(tmp_path: Path) -> None:
    model = read_model(add_regulars(tmp_path / "models", "regulars"))
    settings = released(tmp_path / "home", model)
    loop = Watching(Clock(settings.clock_file))
    periods = ["2026-01-09", "2026-01-10", "2026-01-11"]
    said: list[str] = []
    assert list(replay(settings, model, loop, periods, said.append)) == []
    assert said[0] == "ingesting history up to 2026-01-09; version 1 serves"
    assert sorted(at for _, at in loop.noted) == [at for _, at in loop.noted]
    first = [place for place, (what, _) in enumerate(loop.noted) if what == "send"][::2]
    for period, place in zip(periods, first, strict=True):
        assert loop.noted[place - 1][0] == "settle"
        assert loop.noted[place][1] >= utc(period)


def test_a_replay_of_what_was_before_the_first_version_is_refused_at_once(tmp_path: Path) -> None:
    model = read_model(add_parcels(tmp_path / "models", "parcels"))
    settings = released(tmp_path / "home", model)
    told = (
        r"released at 2026-01-09 00:00 of the loop's time, after 2026-01-08: .*"
        r"`mlops clock --set 2026-01-08T00:00` before it"
    )
    with pytest.raises(ServiceError, match=told):
        next(replay(settings, model, Asleep(), ["2026-01-08", "2026-01-09"], lambda _: None))
    # The clock of those who work in this home stays as it was.
    assert not Clock(settings.clock_file).is_replaying


class Refused(Asleep):
    """A loop whose endpoint asks for other inputs than the spec has."""

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        sent = Sent()
        sent.add(422, b"is not a column of parcels")
        return sent


def test_requests_that_all_fail_are_told_where_no_decision_follows(tmp_path: Path) -> None:
    model = read_model(add_parcels(tmp_path / "models", "parcels"))
    settings = released(tmp_path / "home", model)
    told = r"2 of 2 requests failed, the first with 422: is not a column.*parcels__train"
    with pytest.raises(ServiceError, match=told):
        list(replay(settings, model, Refused(), ["2026-01-09"], lambda _: None))


class Noting(Asleep):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        self.asked += [frozenset(record) for records in requests for record in records]
        return Sent()


def test_a_version_is_asked_with_the_inputs_that_it_was_trained_with(tmp_path: Path) -> None:
    columns = parcel_spec()["columns"]
    now = {"weight": columns["weight"], "hours": "number?"}
    model = read_model(add_parcels(tmp_path / "models", "parcels", columns=now))
    was = read_model(add_parcels(tmp_path / "before", "parcels"))
    loop, said = Noting(), list[str]()
    settings = released(tmp_path / "home", model, was)
    # Its labels come three days later, and the replay ends before.
    assert list(replay(settings, model, loop, ["2026-01-09"], said.append)) == []
    assert set(loop.asked) == {frozenset({"parcel", "sent_at", "zone", "weight"})}
    told = "2026-01-09: version 1 was trained before it could see hours: asked without"
    assert said.count(told) == 1


class Deciding(Asleep):
    """A loop whose sensors read a period without rows, and decide on it as later rows have come."""

    def __init__(self, model: Model, lake: Lake) -> None:
        self.model, self.lake = model.name, lake

    def settle(self, period: str | None) -> None:
        if period:
            decided = {"id": "1", "action": "nothing", "reasons": ["too little evidence"]}
            rows = pa.table({"parcel": pa.array([], pa.string())})
            self.lake.write_period(self.model, "raw_data", period, rows)
            kept = pa.table({"content": [json.dumps(decided)]})
            self.lake.write_period(self.model, "decisions", period, kept)


def test_a_period_without_rows_is_told_as_a_gap_though_it_is_decided_on(tmp_path: Path) -> None:
    model, said = read_model(add_parcels(tmp_path / "models", "parcels")), list[str]()
    settings = released(tmp_path / "home", model)
    loop = Deciding(model, Lake(settings.lake_root))
    assert list(replay(settings, model, loop, ["2027-01-09"], said.append)) == []
    told = "2027-01-09: a gap, the source has no row of it: nothing asked, nothing judged"
    assert told in said
