"""Who answers, with what, and what is remembered: through the service, with real models."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import serving.records
from mlops_assets.domain.profile import Profile, profile_levels
from mlops_assets.domain.split import variant_of
from mlops_assets.stores.bundles import write_manifest
from mlops_assets.stores.prediction_log import LoggedRequest, read_from, segments
from mlops_assets_tests.serving.conftest import CONTRACT, Built, asked, bundle, records, state
from serving.http import PredictionService
from serving.models import ModelSet
from serving.protocols.arrow import ARROW
from serving.stats import Stats

MODEL = "flight_delay"
PATH = "/v1/models/flight_delay/predict"
SPLIT = (("challenger", 30.0),)
# From here on, in these tests, rows are logged packed.
PACKED = 20


class Served:
    """A service whose pointer file a test writes, and what it logs and counts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.stats = Stats()
        self.models = ModelSet(home / "state.json")
        self.service = PredictionService(self.models, home / "log", None, self.stats)

    def publish(self, version: str, folder: Path, **others: Any) -> None:
        state(self.home / "state.json", flight_delay=asked(version, folder, **others))
        self.models.refresh()
        assert not self.models.models[MODEL].problem

    def ask(self, *rows: dict[str, Any], **others: Any) -> tuple[int, Any]:
        # An escape would send a single record the long way.
        raw = json.dumps({"records": rows, **others}, ensure_ascii=False).encode()
        if len(rows) == 1:
            loaded = self.models.models[MODEL].loaded
            assert loaded is not None
            assert loaded.reader is not None
            assert loaded.reader.read(raw) is not None
        answer = self.service.handle("POST", PATH, {}, raw)
        return answer.status, json.loads(answer.body)

    def logged(self) -> list[LoggedRequest]:
        folder = self.home / "log" / MODEL
        return [record for path in segments(folder) for record in read_from(path, 0)[0]]

    def counts(self, version: str) -> dict[str, Any]:
        models = self.stats.snapshot()["models"]
        found: dict[str, Any] = models.get(MODEL, {"versions": {}})["versions"]
        return found.get(version, {})


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(serving.records, "LEAST_ROWS", PACKED)
    served = Served(tmp_path)
    yield served
    served.service.close()


def row(distance: float = 100.0, **others: Any) -> dict[str, Any]:
    return {**records(1, seed=3)[0], "distance": distance, **others}


@pytest.mark.parametrize("rows", [1, 3, PACKED])
@pytest.mark.parametrize(("bad", "counted"), [("raises", "exceptions"), ("nan", "invalid_outputs")])
def test_where_the_champion_fails_the_one_before_it_answers_and_it_is_counted(
    served: Served,
    bundles: dict[str, Built],
    bad_bundles: dict[str, Path],
    rows: int,
    bad: str,
    counted: str,
):
    served.publish("1", bundles["1"].folder)
    expected = served.ask(*[row(-5.0)] * rows)[1]
    before = bundle("1", bundles["1"].folder)
    served.publish("2", bad_bundles[bad], fallback=before)
    assert served.ask(*[row(5.0)] * rows)[1]["version"] == "2"
    status, body = served.ask(*[row(-5.0)] * rows)
    assert status == 200
    assert (body["version"], body["variant"]) == ("1", "fallback")
    assert [one["probability"] for one in body["predictions"]] == [
        one["probability"] for one in expected["predictions"]
    ]
    last = served.logged()[-1]
    assert (last.version, last.variant) == ("1", "fallback")
    assert last.ids == [one["prediction_id"] for one in body["predictions"]]
    counts = served.counts("2")
    assert (counts["requests"], counts[counted], counts["fallbacks"]) == (2, 1, 1)
    others = {"exceptions", "invalid_outputs"} - {counted}
    assert [counts[name] for name in others] == [0]
    assert served.counts("1")["exceptions"] == served.counts("1")["invalid_outputs"] == 0


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_that_no_version_can_score_are_the_clients_fault_and_not_counted(
    served: Served, bad_bundles: dict[str, Path], rows: int
):
    served.publish("2", bad_bundles["nan"], fallback=bundle("1", bad_bundles["nan"]))
    status, body = served.ask(*[row()] * (rows - 1), row(-1.0))
    assert status == 422
    assert body["error"]["field"] == f"records[{rows - 1}]"
    assert served.counts("1") == served.counts("2") == {}
    assert served.logged() == []


def test_a_model_that_raises_without_a_stand_in_is_500_and_counted(
    served: Served, bad_bundles: dict[str, Path]
):
    served.publish("2", bad_bundles["raises"])
    status, body = served.ask(row(-5.0))
    assert (status, body["error"]["field"]) == (500, "model")
    assert served.counts("2")["exceptions"] == 1
    assert served.counts("2")["fallbacks"] == 0
    assert served.logged() == []
    assert served.ask(row(5.0))[0] == 200


def split(served: Served, bundles: dict[str, Built], weight: float = SPLIT[0][1]) -> None:
    challenger = bundle("2", bundles["2"].folder, variant="challenger", weight=weight)
    served.publish("1", bundles["1"].folder, split=[challenger])


def test_an_entity_gets_the_same_variant_alone_and_among_others(
    served: Served, bundles: dict[str, Built]
):
    split(served, bundles)
    flights = [f"F{number}" for number in range(60)]
    due = [variant_of(flight, MODEL, SPLIT) for flight in flights]
    assert set(due) == {"champion", "challenger"}
    versions = {"champion": "1", "challenger": "2"}
    alone = []
    for flight in flights:
        body = served.ask(row(flight=flight))[1]
        variant = body.get("variant", "champion")
        assert body["version"] == versions[variant]
        alone.append((variant, body["predictions"][0]["probability"]))
    assert [variant for variant, _ in alone] == due
    body = served.ask(*[row(flight=flight) for flight in flights])[1]
    assert body["version"] == "1"
    among = body["predictions"]
    assert [(one["variant"], one["version"]) for one in among] == [
        (variant, versions[variant]) for variant in due
    ]
    assert [one["probability"] for one in among] == [probability for _, probability in alone]
    assert len({one["prediction_id"] for one in among}) == len(flights)


@pytest.mark.parametrize("rows", [PACKED - 1, 5 * PACKED])
def test_a_bulk_request_over_two_versions_is_logged_by_version_and_row(
    served: Served, bundles: dict[str, Built], rows: int
):
    split(served, bundles)
    flights = [f"F{number}" for number in range(rows)]
    body = served.ask(*[row(flight=flight) for flight in flights], request_id="r")[1]
    logged = {
        prediction: (record.version, record.variant, entity, outputs)
        for record in served.logged()
        for prediction, entity, outputs in zip(
            record.ids, record.entities, record.outputs, strict=True
        )
    }
    assert [logged[one["prediction_id"]] for one in body["predictions"]] == [
        (one["version"], one["variant"], flight, list(one["probability"].values()))
        for one, flight in zip(body["predictions"], flights, strict=True)
    ]
    assert {record.request_id for record in served.logged()} == {"r"}


@pytest.mark.parametrize("rows", [1, 2])
def test_a_record_without_an_entity_goes_by_the_weights_too(
    served: Served, bundles: dict[str, Built], rows: int
):
    split(served, bundles, weight=50.0)
    variants = Counter(
        served.ask(*[row()] * rows)[1].get("variant", "champion") for _ in range(200)
    )
    # Five standard deviations around the half.
    assert abs(variants["challenger"] - 100) < 36


def test_a_request_id_stands_in_for_an_entity(served: Served, bundles: dict[str, Built]):
    split(served, bundles)
    for number in range(30):
        due = variant_of(f"r{number}", MODEL, SPLIT)
        body = served.ask(row(), request_id=f"r{number}")[1]
        assert body.get("variant", "champion") == due


def test_a_request_that_fails_for_one_variant_leaves_no_row_of_the_other(
    served: Served, bundles: dict[str, Built], bad_bundles: dict[str, Path]
):
    flights = [f"F{number}" for number in range(10)]
    due = [variant_of(flight, MODEL, SPLIT) for flight in flights]
    bad = bad_bundles["nan"]
    challenger = bundle("2", bad, variant="challenger", weight=SPLIT[0][1])
    served.publish("1", bad, split=[challenger])
    # Only a row of the group that is scored last cannot be scored.
    last = next(flight for flight, variant in zip(flights, due, strict=True) if variant != due[0])
    rows = [row(-1.0 if flight == last else 1.0, flight=flight) for flight in flights]
    assert served.ask(*rows)[0] == 422
    assert served.logged() == []


def test_where_a_challenger_fails_the_champion_answers_as_the_fallback(
    served: Served, bundles: dict[str, Built], bad_bundles: dict[str, Path]
):
    challenger = bundle("2", bad_bundles["raises"], variant="challenger", weight=SPLIT[0][1])
    served.publish("1", bundles["1"].folder, split=[challenger])
    flight = next(
        name for name in map(str, range(99)) if variant_of(name, MODEL, SPLIT) == "challenger"
    )
    body = served.ask(row(5.0, flight=flight))[1]
    assert (body["version"], body["variant"]) == ("2", "challenger")
    body = served.ask(row(-5.0, flight=flight))[1]
    assert (body["version"], body["variant"]) == ("1", "fallback")
    assert served.counts("2")["fallbacks"] == 1


def with_reference(source: Path, folder: Path) -> Path:
    """The bundle with a reference profile that has carriers AA and UA."""
    shutil.copytree(source, folder)
    carriers = profile_levels(np.array(["AA", "UA"], dtype=object))
    (folder / "reference.json").write_bytes(Profile({"carrier": carriers}).to_json())
    (folder / "manifest.json").unlink()
    write_manifest(folder, "onnx", {"rows": 0})
    return folder


@pytest.mark.parametrize("together", [True, False])
def test_categories_that_the_reference_data_did_not_have_are_scored_and_counted(
    served: Served, bundles: dict[str, Built], tmp_path: Path, together: bool
):
    served.publish("1", with_reference(bundles["1"].folder, tmp_path / "bundle"))
    rows = [row(carrier=carrier) for carrier in ("AA", "XX", "UA", "YY", "XX")]
    answers = [served.ask(*rows)] if together else [served.ask(one) for one in rows]
    assert {status for status, _ in answers} == {200}
    assert served.counts("1")["unknown_categories"] == {"carrier": 3}


def test_an_arrow_stream_and_its_records_are_answered_logged_and_counted_alike(
    served: Served, bundles: dict[str, Built], tmp_path: Path
):
    served.publish("1", with_reference(bundles["1"].folder, tmp_path / "bundle"))
    rows = [
        {**one, "carrier": "XX" if number in (3, 7) else "AA"}
        for number, one in enumerate(records(PACKED, seed=5))
    ]
    table = pa.Table.from_pylist(rows)
    coded = table.set_column(
        table.column_names.index("carrier"), "carrier", table["carrier"].dictionary_encode()
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, coded.schema) as writer:
        writer.write_table(coded)
    answer = served.service.handle(
        "POST", PATH, {"content-type": ARROW}, sink.getvalue().to_pybytes()
    )
    found = pa.ipc.open_stream(answer.body).read_all().to_pydict()
    expected = served.ask(*rows)[1]["predictions"]
    assert found["prediction"] == [one["prediction"] for one in expected]
    for name in CONTRACT.classes:
        assert found[f"p_{name}"] == [one["probability"][name] for one in expected]
    by_column, by_record = served.logged()
    assert by_column.ids == found["prediction_id"]
    assert by_record.ids == [one["prediction_id"] for one in expected]
    same = ("features", "outputs", "entities", "event_times", "version", "variant")
    assert [getattr(by_column, name) for name in same] == [
        getattr(by_record, name) for name in same
    ]
    assert served.counts("1")["unknown_categories"] == {"carrier": 2 * 2}


def test_prediction_ids_follow_from_the_request_id_on_every_replica(
    served: Served, bundles: dict[str, Built], tmp_path: Path
):
    served.publish("1", bundles["1"].folder)
    other = Served(tmp_path / "other")
    other.publish("2", bundles["2"].folder)
    many = [row(), row(7.0)]

    def ids(one: Served, *rows: dict[str, Any], **others: Any) -> list[str]:
        return [p["prediction_id"] for p in one.ask(*rows, **others)[1]["predictions"]]

    assert ids(served, row(), request_id="a") == ids(other, row(), request_id="a")
    assert ids(served, *many, request_id="b") == ids(other, *many, request_id="b")
    made = [*ids(served, row(), request_id="a"), *ids(served, *many, request_id="b")]
    made += [one for _ in range(3) for one in ids(served, row())]
    made += [one for _ in range(3) for one in ids(other, *many)]
    assert len(set(made)) == len(made)
    other.service.close()


def test_a_repeated_request_is_answered_again_and_logged_once(
    served: Served, bundles: dict[str, Built]
):
    served.publish("1", bundles["1"].folder)
    for rows in ([row()], [row(), row(7.0)]):
        first = served.ask(*rows, request_id=f"r{len(rows)}")
        assert served.ask(*rows, request_id=f"r{len(rows)}") == first
    assert len(served.logged()) == 2
    status, body = served.ask(row(8.0), request_id="r1")
    assert (status, body["error"]["field"]) == (409, "request_id")
    assert len(served.logged()) == 2


def test_both_ways_answer_and_log_the_same(served: Served, bundles: dict[str, Built]):
    served.publish("1", bundles["1"].folder)
    for number, record in enumerate(records(20, seed=4)):
        record["flight"] = "F:1"
        quick = served.ask(record)[1]
        # An escape sends it the long way.
        raw = json.dumps({"records": [record]}).replace("F:1", "F\\u003a1").encode()
        long = json.loads(served.service.handle("POST", PATH, {}, raw).body)
        one, two = (answer["predictions"][0]["probability"] for answer in (quick, long))
        assert one == two
        first, second = served.logged()[2 * number :]
        assert first.features == second.features
        assert (first.outputs, first.entities) == (second.outputs, second.entities)
        assert CONTRACT.classes[0] in one


def by_number(served: Served, version: str, distance: float, flight: str = "a") -> tuple[int, Any]:
    """Ask for one version, in the protocol that knows versions."""
    kinds = {float: "FP64", int: "INT64", str: "BYTES", bool: "BOOL"}
    values = {**row(distance), "flight": flight}
    inputs = [
        {"name": name, "shape": [1], "datatype": kinds[type(value)], "data": [value]}
        for name, value in values.items()
    ]
    path = f"/v2/models/{MODEL}/versions/{version}/infer"
    answer = served.service.handle("POST", path, {}, json.dumps({"inputs": inputs}).encode())
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("asked_for", ["1", "2"])
def test_a_version_that_was_asked_for_by_number_is_answered_for_by_no_other(
    served: Served, bundles: dict[str, Built], bad_bundles: dict[str, Path], asked_for: str
):
    good, bad = bundles["1"].folder, bad_bundles["raises"]
    others = {"1": bundle("2", good), "2": bundle("1", good)}[asked_for]
    if asked_for == "1":
        served.publish("1", bad, fallback=others)
    else:
        challenger = bundle("2", bad, variant="challenger", weight=1)
        served.publish("1", good, split=[challenger])
    status, body = by_number(served, asked_for, -5.0)
    assert status == 500
    assert "the model failed on this request" in body["error"]
    assert served.counts(asked_for)["exceptions"] == 1
    status, body = by_number(served, asked_for, 5.0)
    assert (status, body["model_version"]) == (200, asked_for)


def test_the_champion_by_number_is_the_champion_whatever_the_split(
    served: Served, bundles: dict[str, Built]
):
    challenger = bundle("2", bundles["2"].folder, variant="challenger", weight=100)
    served.publish("1", bundles["1"].folder, split=[challenger])
    assert served.ask(row(5.0))[1]["version"] == "2"
    assert by_number(served, "1", 5.0)[1]["model_version"] == "1"
    assert [one.variant for one in served.logged()] == ["challenger", "champion"]
