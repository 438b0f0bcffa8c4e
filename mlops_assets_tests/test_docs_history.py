"""The model, the rules and the function that docs/history.md shows can be written down so."""

import json
import re
from pathlib import Path

import numpy as np
import yaml

from mlops_assets.spec import ModelSpec
from mlops_assets.spec.rules import problems
from mlops_assets.stores.function_digests import with_digests
from mlops_assets.stores.history_functions import load_function
from mlops_assets_tests.loop import read_model, shipped

TEXT = (Path(__file__).parents[1] / "docs" / "history.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)


def test_the_model_of_the_documentation_is_whole_and_takes_the_request_shown(tmp_path: Path):
    (tmp_path / "flight_history").mkdir()
    (tmp_path / "flight_history" / "defs.yaml").write_text(BLOCKS[0])
    spec = read_model(tmp_path / "flight_history").spec
    assert problems(spec) == ()
    (request,) = re.findall(r"-d '(\{.*?\})'", TEXT, re.S)
    (record,) = json.loads(request)["records"]
    looked_up = ("carrier_delay", "origin_delay", "dest_flights")
    assert spec.input_names == (*list(record)[2:], *looked_up)
    assert list(record)[:2] == [spec.entity, spec.event_time]


def test_the_function_of_the_documentation_may_stand_beside_its_rules():
    shown, function = map(yaml.safe_load, BLOCKS)
    history = [*shown["attributes"]["history"], *function["history"]]
    spec = ModelSpec.model_validate({**shown["attributes"], "history": history})
    assert problems(spec) == ()
    assert spec.input_names[-1] == "recent_delay"


def test_the_function_of_the_documentation_is_one_that_can_be_declared(tmp_path: Path):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    (tmp_path / "features.py").write_text(code)
    shown = yaml.safe_load(BLOCKS[1])
    spec, found = with_digests(ModelSpec.model_validate(shipped("flight_delay", **shown)), tmp_path)
    assert found == ()
    function = load_function(tmp_path, spec.history_rules[0])
    times = np.array([0, 1], dtype="datetime64[D]").astype("datetime64[us]")
    values = {"arrival_delay_minutes": np.array([3.0, 30.0])}
    assert function(times, values, np.datetime64(2, "D")) == 21
    assert (
        function(times[:0], {"arrival_delay_minutes": np.empty(0)}, np.datetime64(2, "D")) is None
    )


def test_every_field_of_a_rule_is_explained():
    for name in ModelSpec.model_fields["history"].annotation.__args__[0].model_fields:  # type: ignore[union-attr]
        assert name in ("name", "digest") or f"| `{name}` |" in TEXT
