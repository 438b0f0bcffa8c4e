from pathlib import Path

import pytest

from mlops_assets_tests.serving.conftest import asked, bundle, state
from serving.pointer import Bundle, Target, read_pointer, read_retired


def test_without_a_file_there_is_nothing_to_serve(tmp_path: Path):
    assert read_pointer(tmp_path / "state.json") == {}


def test_a_champion_alone_is_read(tmp_path: Path):
    state(tmp_path / "state.json", m=asked("1", Path("/bundles/1")))
    since = "2026-01-01T00:00:00+00:00"
    assert read_pointer(tmp_path / "state.json") == {"m": Target("1", "/bundles/1", since, "")}


def test_split_shadow_and_fallback_are_read(tmp_path: Path):
    entry = asked(
        "1",
        Path("/b/1"),
        split=[bundle("2", Path("/b/2"), variant="challenger", weight=10)],
        shadow=bundle("3", Path("/b/3")),
        fallback=bundle("0", Path("/b/0")),
    )
    state(tmp_path / "state.json", m=entry)
    found = read_pointer(tmp_path / "state.json")["m"]
    assert found.split == (("challenger", Bundle("2", "/b/2"), 10.0),)
    assert (found.shadow, found.fallback) == (Bundle("3", "/b/3"), Bundle("0", "/b/0"))


def test_empty_parts_are_absent_ones(tmp_path: Path):
    entry = asked("1", Path("/b/1"), split=[], shadow=None, fallback=None)
    state(tmp_path / "state.json", m=entry)
    found = read_pointer(tmp_path / "state.json")["m"]
    assert (found.split, found.shadow, found.fallback) == ((), None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"models": []}',
        '{"models": {"m": null}}',
        '{"models": {"m": {"version": "1", "path": "/b"}}}',
        '{"models": {"m": {"version": "1", "path": "/b", "since": "", "released_at": "",'
        ' "split": [{"variant": "v", "version": "2", "path": "/c", "weight": "much"}]}}}',
    ],
)
def test_a_damaged_file_is_an_error_that_followers_catch(tmp_path: Path, text: str):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises((OSError, ValueError, KeyError, TypeError, AttributeError)):
        read_pointer(tmp_path / "state.json")


def test_retired_models_are_named_with_their_time(tmp_path: Path):
    path = tmp_path / "state.json"
    assert read_retired(path) == {}
    path.write_text('{"generation": 1, "models": {}}')
    assert read_retired(path) == {}
    path.write_text('{"generation": 2, "models": {}, "retired": {"demand": "2026"}}')
    assert read_retired(path) == {"demand": "2026"}
