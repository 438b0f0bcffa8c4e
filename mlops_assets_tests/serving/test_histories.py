"""Looking up the past: the same values as training has, or a clear answer why not."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_assets.domain.column_requests import ColumnParser
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, RequestParser
from mlops_assets.stores.entity_events import Past
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.online import OnlineStore
from mlops_assets.stores.online_publication import publish
from mlops_assets.stores.tables import to_frame
from mlops_assets_tests.loop import utc
from mlops_assets_tests.regulars import (
    NAMES,
    add_functions,
    regular_model,
    regular_spec,
    validated_lake,
)
from serving.answers import Refusal
from serving.exposition import exposition
from serving.histories import Histories
from serving.single import SingleRecordReader
from serving.stats import Stats

DAYS = 10
PERIODS = tuple(f"2026-01-{day:02}" for day in range(1, DAYS + 1))
UNTIL = "2026-01-08"


class Looking:
    """A lake of ten days, of which seven are published, and who looks them up."""

    def __init__(self, home: Path, lake: Lake) -> None:
        self.lake = lake
        self.model = regular_model()
        self.store = OnlineStore(f"sqlite:///{home}/history.db")
        self.stats = Stats()
        self.models_dir = home / "models"
        self.functions = add_functions(self.models_dir / "regulars")
        (self.functions.parent / "defs.yaml").touch()
        self.histories = self.replica()

    def replica(self) -> Histories:
        now = utc("2026-01-08").timestamp()
        return Histories(self.store, self.stats, lambda: now, models_dir=self.models_dir)

    @property
    def contract(self) -> Contract:
        return self.model.spec.contract("regulars", ("0", "1"))

    def publish(self, now: str = UNTIL, ready: tuple[str, ...] = PERIODS) -> None:
        publish(self.model, self.lake, self.store, ready, utc(now))

    def rows(self, period: str) -> pd.DataFrame:
        return to_frame(self.lake.read("regulars", "validated_data", periods=[period]))

    def ask(self, *records: dict[str, Any]) -> ParsedRequest:
        request = RequestParser(self.contract).parse({"records": list(records)})
        return self.histories.complete(self.contract, request)

    def counted(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stats.snapshot()["models"]["regulars"]["looked_up"]
        return found


def record(row: Any) -> dict[str, Any]:
    """What a client sends of a row: the key, the time, and what is new."""
    return {
        "sender": int(row["sender"]),
        "sent_at": row["sent_at"].isoformat(),
        "zone": row["zone"],
        "weight": float(row["weight"]),
    }


ALICE = {"sender": "7", "sent_at": "2026-01-08T10:00:00Z", "zone": "near", "weight": 1.0}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return validated_lake(tmp_path_factory.mktemp("lake"), regular_model(), DAYS)


@pytest.fixture
def looking(tmp_path: Path, lake: Lake) -> Looking:
    found = Looking(tmp_path, lake)
    found.publish()
    return found


@pytest.mark.parametrize("period", ["2026-01-06", "2026-01-07", "2026-01-08"])
def test_what_is_looked_up_is_what_training_has_to_the_last_bit(looking: Looking, period: str):
    """Of every sender and time of the period; of `until: event` as far as events are published."""
    rows = looking.rows(period)
    offline = Past(looking.model, looking.lake).inputs(period, rows)
    online = looking.ask(*(record(row) for _, row in rows.iterrows())).columns
    is_published = period < UNTIL
    for name in NAMES if is_published else NAMES[:-1]:
        assert online[name].tobytes() == offline[name].tobytes(), name
    assert looking.counted()["stale"] == looking.counted()["failed"] == 0


def test_records_alone_and_together_are_answered_alike(looking: Looking):
    rows = [record(row) for _, row in looking.rows("2026-01-08").head(20).iterrows()]
    together = looking.ask(*rows).columns
    for place, row in enumerate(rows):
        alone = looking.ask(row).columns
        for name in NAMES:
            assert alone[name].tobytes() == together[name][place : place + 1].tobytes()


def test_what_a_client_sends_is_kept_also_a_null(looking: Looking):
    columns = looking.ask(
        {**ALICE, "sent_before": 99}, {**ALICE, "usual_weight": None}, ALICE
    ).columns
    sent, usual = columns["sent_before"], columns["usual_weight"]
    assert sent[0] == 99 != sent[1] == sent[2]
    assert np.isnan(usual[1])
    assert usual[0] == usual[2] > 0


def test_nothing_is_looked_up_where_all_is_sent(looking: Looking, tmp_path: Path):
    away = Histories(OnlineStore(f"sqlite:///{tmp_path}/nothing.db"), looking.stats)
    whole = {**ALICE, **dict.fromkeys(NAMES, 1.0)}
    request = RequestParser(looking.contract).parse({"records": [whole]})
    assert away.complete(looking.contract, request) is request
    other = regular_model(history=[]).spec.contract("regulars", ("0", "1"))
    assert away.complete(other, RequestParser(other).parse({"records": [ALICE]})).absent == {}


def test_columns_are_completed_like_records(looking: Looking):
    by_column = ColumnParser(looking.contract).parse(
        {name: [value] for name, value in ALICE.items()}
    )
    found = looking.histories.complete(looking.contract, by_column).columns
    expected = looking.ask(ALICE).columns
    assert found.keys() == expected.keys()
    for name in NAMES:
        assert found[name].tobytes() == expected[name].tobytes()


def test_a_key_without_a_past_has_nothing_and_is_counted(looking: Looking):
    columns = looking.ask({**ALICE, "sender": "nobody"}, ALICE).columns
    assert columns["sent_before"][0] == 0 < columns["sent_before"][1]
    assert np.isnan(columns["usual_weight"][0])
    assert columns["zone_hours"][0] == columns["zone_hours"][1]
    assert looking.counted()["rows"] == 2
    assert looking.counted()["unknown"] == 1


def test_a_record_without_its_key_is_told_so(looking: Looking):
    with pytest.raises(RequestError, match="looks up sent_before, usual_weight") as told:
        looking.ask(ALICE, {**ALICE, "sender": None})
    assert told.value.field == "records[1].sender"


def test_a_record_without_a_time_is_about_now(looking: Looking):
    timeless = {name: value for name, value in ALICE.items() if name != "sent_at"}
    now = {**ALICE, "sent_at": "2026-01-08T00:00:00Z"}
    for name in NAMES:
        assert (
            looking.ask(timeless).columns[name].tobytes()
            == looking.ask(now).columns[name].tobytes()
        )


def test_after_the_newest_publication_its_values_stand_and_are_counted_as_stale(looking: Looking):
    """A window that lacks its newest days would be another input than the model knows."""
    later = [{**ALICE, "sent_at": f"2026-01-{day}T10:00:00Z"} for day in ("08", "09", "10")]
    columns = looking.ask(*later).columns
    assert len(set(columns["sent_before"].tolist())) == 1
    assert np.diff(columns["days_quiet"]).tolist() == pytest.approx([1, 1])
    assert looking.counted()["stale"] == 2
    assert looking.counted()["age_seconds"] == timedelta(days=2, hours=10).total_seconds()
    page = exposition([{"refused": {}, **looking.stats.snapshot()}], {}, Path()).decode()
    assert 'mlops_history_stale_total{model="regulars"} 2.0' in page
    assert 'mlops_history_age_seconds{model="regulars"} 208800.0' in page
    looking.publish("2026-01-10")
    fresh = looking.ask(*later).columns
    assert looking.counted()["stale"] == 2
    assert len(set(fresh["sent_before"].tolist())) > 1


def test_a_time_before_what_is_kept_is_refused_rather_than_answered_from_a_part(looking: Looking):
    looking.publish("2026-01-10")
    with pytest.raises(RequestError, match="than the online store reaches back") as told:
        looking.ask(ALICE, {**ALICE, "sent_at": "2026-01-05T10:00:00Z"})
    assert told.value.field == "records[1].sent_at"
    # From the first row on nothing is missing.
    looking.publish("2026-01-04")
    assert looking.ask({**ALICE, "sent_at": "2026-01-01T10:00:00Z"}).columns["sent_before"] == [0]


def test_a_store_that_is_away_refuses_or_counts_as_missing_as_the_spec_wants(
    looking: Looking, tmp_path: Path
):
    away = Histories(OnlineStore(f"sqlite:///{tmp_path}/nothing.db"), looking.stats)
    request = RequestParser(looking.contract).parse({"records": [ALICE]})
    with pytest.raises(Refusal) as told:
        away.complete(looking.contract, request)
    answer = told.value.answer()
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert "or send sent_before, usual_weight" in json.loads(answer.body)["error"]["message"]
    lenient = regular_model(serving={"store_away": "missing"}).spec.contract("regulars", ("0", "1"))
    columns = away.complete(lenient, request).columns
    assert all(np.isnan(columns[name]).all() for name in NAMES)
    assert looking.counted()["failed"] == 2
    assert away.health(lenient) == {"problem": "the online store of history does not answer"}


def test_a_function_that_changed_is_told_and_not_run(looking: Looking):
    """Only replicas that start afterwards meet it: what is loaded answers on."""
    expected = looking.ask(ALICE).columns["fading"]
    looking.functions.write_text(looking.functions.read_text().replace("0.5", "0.6"))
    assert looking.ask(ALICE).columns["fading"] == expected
    looking.histories = looking.replica()
    with pytest.raises(Refusal, match=r"features\.py is not what it was") as told:
        looking.ask(ALICE)
    assert told.value.status == 503
    assert "until then send sent_before, usual_weight" in told.value.message
    health = looking.histories.health(looking.contract)
    assert health is not None
    assert "features.py is not what it was" in health["problem"]
    assert np.isnan(
        looking.ask({**ALICE, **dict.fromkeys(NAMES, 1.0), "fading": None}).columns["fading"]
    )
    looking.model = regular_model(serving={"store_away": "missing"})
    assert np.isnan(looking.ask(ALICE).columns["fading"])
    assert looking.counted()["failed"] == 2


def test_a_replica_without_the_project_says_what_it_lacks(looking: Looking):
    bare = Histories(looking.store, looking.stats)
    health = bare.health(looking.contract)
    assert health is not None
    assert "no folder of regulars with its features.py" in health["problem"]
    request = RequestParser(looking.contract).parse({"records": [ALICE]})
    with pytest.raises(Refusal, match="MLOPS_MODELS_DIR"):
        bare.complete(looking.contract, request)


def test_what_was_published_by_another_spec_is_not_taken_for_this_one(looking: Looking):
    more = {"name": "heaviest", "aggregate": "max", "column": "weight", "entity": "zone"}
    looking.model = regular_model(history=[*regular_spec()["history"], {**more, "window": "2d"}])
    with pytest.raises(Refusal, match="history"):
        looking.ask(ALICE)
    looking.publish()
    assert looking.ask(ALICE).columns["heaviest"] > 15


def test_health_tells_the_age_of_what_is_published(looking: Looking):
    assert looking.histories.health(looking.contract) == {
        "published_until": "2026-01-08T00:00:00+00:00",
        "age_seconds": 0.0,
        "keys": 43,
    }
    nothing = regular_model(history=[]).spec.contract("regulars", ())
    assert looking.histories.health(nothing) is None


def test_single_records_that_need_a_look_up_go_the_long_way(looking: Looking):
    reader = SingleRecordReader(looking.contract)
    assert reader.read(json.dumps({"records": [ALICE]}).encode()) is None


def test_the_contract_keeps_its_rules(looking: Looking):
    again = Contract.from_json(looking.contract.to_json())
    assert again == looking.contract
    assert again.looked_up == set(NAMES)
    old = json.loads(looking.contract.to_json())
    del old["history"], old["store_away"]
    assert Contract.from_json(json.dumps(old)).history == ()


def test_times_keep_their_microseconds(looking: Looking):
    """A float of seconds since 1970 would not: strictly before has to mean it."""
    row = looking.rows("2026-01-07").iloc[5]
    at = row["sent_at"] + timedelta(microseconds=1)
    after, before = (
        looking.ask({**record(row), "sent_at": moment.isoformat()}).columns["days_quiet"]
        for moment in (at, row["sent_at"])
    )
    assert after - before == pytest.approx(1 / 86_400e6, rel=1e-3)
    assert isinstance(at, datetime)


def test_the_documentation_says_what_is_looked_up(looking: Looking):
    from serving.openapi import document

    text = json.dumps(document([looking.contract], False))
    assert "Looked up by sender where it is left out." in text
    assert "Looked up by zone where it is left out." in text
