import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY
from serving.level_codes import MOST_LEVELS, LevelCodes

LEVEL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0:")).filter(
    lambda level: level != MISSING_CATEGORY
)


@given(st.data(), st.sets(LEVEL, min_size=1, max_size=30))
def test_what_is_decoded_are_the_texts(data: st.DataObject, levels: set[str]):
    codes = LevelCodes.of(levels)
    assert codes is not None
    texts = data.draw(st.lists(st.sampled_from(sorted(levels)) | st.none()))
    raw = msgspec.json.encode(texts)
    places = msgspec.json.decode(raw, type=list[codes.type | None])
    column = codes.column(np.array(places, dtype=np.float64))
    assert column.tolist() == [MISSING_CATEGORY if text is None else text for text in texts]
    assert len(column) == len(texts)


def test_a_level_that_is_not_known_is_not_decoded():
    codes = LevelCodes.of(["a", "b"])
    assert codes is not None
    for raw in (b'["a", "c"]', b'["level0"]', b"[0]", b'["\\u0000\\u0000"]', b"[null]"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(raw, type=list[codes.type])


@pytest.mark.parametrize(
    "levels", [[], [MISSING_CATEGORY], ["a", "b:c"], ["a\0"], ["\ud800"], map(str, range(1025))]
)
def test_levels_that_must_be_looked_at_as_text_get_no_codes(levels: list[str]):
    assert LevelCodes.of(levels) is None


def test_the_most_levels_fit_their_codes():
    names = [f"level {place:04}" for place in range(MOST_LEVELS)]
    codes = LevelCodes.of(names)
    assert codes is not None
    places = msgspec.json.decode(msgspec.json.encode([*names, None]), type=list[codes.type | None])
    column = codes.column(np.array(places, dtype=np.float64))
    np.testing.assert_array_equal(column.codes, np.arange(MOST_LEVELS + 1))
    assert column.values == (*names, MISSING_CATEGORY)
