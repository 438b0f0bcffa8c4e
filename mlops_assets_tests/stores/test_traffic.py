from pathlib import Path

import pytest

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.requests import RequestParser
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.identified import identified
from mlops_assets.stores.sources import read
from mlops_assets.stores.tables import to_frame
from mlops_assets.stores.traffic import MOST_RECORDS, records, requests, with_key

ATTRIBUTES = {
    "task": "binary",
    "source": {"kind": "csv", "path": "rows.csv"},
    "entity": "id",
    "event_time": "at",
    "label": {"column": "minutes", "above": 15, "known_at": "known"},
    "period": {"every": "daily", "start": "2026-01-01"},
    "columns": {"distance": "number?", "kind": "category?"},
}
ROWS = """id,at,distance,kind,minutes,known
1,2026-01-01T08:00:00,5.5,letter,3,2026-01-01T09:00:00
2,2026-01-01T08:00:00,,parcel,30,2026-01-01T10:00:00
3,2026-01-01T08:05:00,7,,,
4,2026-01-02T08:00:00,9,letter,1,2026-01-02T09:00:00
"""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "rows.csv").write_text(ROWS)
    return Model("letters", ModelSpec.model_validate(ATTRIBUTES), tmp_path)


def test_a_record_holds_who_when_and_the_inputs_but_never_the_label(model):
    found = records(model, "2026-01-01")
    assert [record["id"] for record in found] == ["1", "2", "3"]
    assert set(found[0]) == {"id", "at", "distance", "kind"}
    assert found[0]["at"] == "2026-01-01T08:00:00+00:00"
    assert found[1]["distance"] is None
    assert found[2]["kind"] is None


def test_records_of_one_moment_are_asked_for_together(model):
    assert [len(request) for request in requests(model, "2026-01-01")] == [2, 1]


def test_a_moment_with_many_records_is_cut(model, tmp_path):
    line = "{},2026-01-01T08:00:00,1,letter,3,2026-01-01T09:00:00\n"
    rows = "".join(line.format(number) for number in range(MOST_RECORDS + 1))
    (tmp_path / "rows.csv").write_text("id,at,distance,kind,minutes,known\n" + rows)
    assert [len(request) for request in requests(model, "2026-01-01")] == [MOST_RECORDS, 1]


@pytest.mark.parametrize(("entity", "left"), [("id", 2), ("kind", 3)])
def test_rows_without_the_entity_whose_past_is_looked_up_are_not_asked_about(
    model, tmp_path, entity, left
):
    (tmp_path / "rows.csv").write_text(ROWS.replace("3,2026-01-01T08:05", ",2026-01-01T08:05"))
    rule = {"name": "before", "entity": entity, "aggregate": "count", "window": "7d"}
    spec = ModelSpec.model_validate({**ATTRIBUTES, "history": [rule]})
    found = records(model, "2026-01-01")
    assert [record["id"] for record in found] == ["1", "2", None]
    assert len(with_key(model, spec.contract("letters", ("0", "1")), found)) == left


def test_every_record_fits_the_contract_that_serving_checks(model):
    contract: Contract = model.spec.contract("letters", ("0", "1"))
    parsed = RequestParser(contract).parse({"records": records(model, "2026-01-01")})
    assert parsed.rows == 3
    assert parsed.entities == ["1", "2", "3"]


def test_a_row_is_identified_as_its_prediction_is_and_labelled_only_with_truth(model):
    bounds = model.calendar.bounds("2026-01-01")
    table = read(
        model.spec.source,
        model.folder,
        columns=model.spec.source_columns,
        event_time="at",
        start=bounds.start,
        end=bounds.end,
    )
    found = identified(model, to_frame(table))
    assert list(found["entity"]) == ["1", "2", "3"]
    assert list(found["label"])[:2] == ["0", "1"]
    assert found["label"].isna().tolist() == [False, False, True]
    assert found["label_known_at"].isna().tolist() == [False, False, True]
