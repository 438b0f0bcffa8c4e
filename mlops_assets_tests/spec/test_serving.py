import pytest
import yaml
from pydantic import ValidationError

from mlops_assets.spec.serving import Serving


@pytest.mark.parametrize(
    ("text", "expected"), [("{}", "off"), ("canary: off", "off"), ("canary: auto", "auto")]
)
def test_a_canary_is_off_unless_it_is_asked_for(text: str, expected: str):
    assert Serving.model_validate(yaml.safe_load(text)).canary == expected


@pytest.mark.parametrize("text", ["canary: on", "canary: 10", "canary: [1, 10]"])
def test_what_is_no_kind_of_canary_is_refused(text: str):
    with pytest.raises(ValidationError, match="'auto' or 'off'"):
        Serving.model_validate(yaml.safe_load(text))


def test_editors_are_told_both_kinds():
    assert Serving.model_json_schema()["properties"]["canary"]["enum"] == ["auto", "off"]
