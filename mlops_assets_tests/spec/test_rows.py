import pytest
from pydantic import ValidationError

from mlops_assets_tests.spec.examples import spec


def test_shorthand_says_type_and_nullability():
    columns = spec().columns
    assert (columns["price"].type, columns["price"].nullable) == ("number", False)
    assert (columns["size"].type, columns["size"].nullable) == ("category", True)
    assert (columns["items"].type, columns["items"].min) == ("integer", 1)


def test_shorthand_and_full_form_are_the_same_spec():
    long = {"price": {"type": "number"}, "size": {"type": "category", "nullable": True}}
    short = {"price": "number", "size": "category?"}
    assert spec(columns=long) == spec(columns=short)
    assert spec(columns=long).content_hash() == spec(columns=short).content_hash()


@pytest.mark.parametrize("bad", ["decimal", "number??", "?", ""])
def test_an_unknown_shorthand_is_refused_at_its_column(bad: str):
    with pytest.raises(ValidationError) as refused:
        spec(columns={"price": bad})
    assert refused.value.errors()[0]["loc"][:2] == ("columns", "price")
