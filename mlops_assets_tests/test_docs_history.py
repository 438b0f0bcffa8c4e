"""The rules that docs/history.md shows can be written into a defs.yaml."""

import re
from pathlib import Path

import yaml

from mlops_assets.spec import ModelSpec
from mlops_assets.spec_rules import problems
from mlops_assets_tests.loop import shipped

TEXT = (Path(__file__).parents[1] / "docs" / "history.md").read_text()


def test_the_rules_of_the_documentation_fit_the_flights():
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    spec = ModelSpec.model_validate(shipped("flight_delay", **yaml.safe_load(shown)))
    assert problems(spec) == ()
    assert spec.input_names[-3:] == ("carrier_delay", "origin_delay", "dest_flights")


def test_every_field_of_a_rule_is_explained():
    for name in ModelSpec.model_fields["history"].annotation.__args__[0].model_fields:  # type: ignore[union-attr]
        assert name == "name" or f"| `{name}` |" in TEXT
