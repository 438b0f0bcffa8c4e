from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from mlops_assets.spec.part import Duration
from mlops_assets_tests.loop import parcel_spec
from mlops_assets_tests.regulars import HISTORY, regular_model

ADAPTER: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("36h", 36), ("90m", 1.5), ("3600s", 1), ("2d", 48), ("1 w", 168), ("PT12H", 12), ("P2D", 48)],
)
def test_a_duration_is_written_as_people_say_it_or_as_iso_8601(text: str, hours: float):
    assert ADAPTER.validate_python(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["soon", "12 parsecs", "h"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(text)


def test_every_section_takes_it():
    label = {**parcel_spec()["label"], "known_at": "", "known_after": "12h"}
    history = [{**HISTORY[0], "window": "36h"}]
    spec = regular_model(label=label, monitoring={"wait": "90m"}, history=history).spec
    assert spec.label.known_after == timedelta(hours=12)
    assert spec.monitoring.wait == timedelta(hours=1.5)
    assert spec.history[0].window == timedelta(hours=36)
