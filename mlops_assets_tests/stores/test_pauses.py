from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_assets.stores.lake import Lake
from mlops_assets.stores.pauses import Pauses

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def change(pauses: Pauses, paused: bool, reason: str = "", model: str = "m") -> Any:
    return pauses.set(model, paused, actor="ann@cli", reason=reason, at=AT, loop_time=AT)


def test_a_pause_holds_until_it_is_ended_and_both_are_on_record(tmp_path: Path):
    pauses = Pauses(Lake(str(tmp_path)))
    assert pauses.current("m") is None
    begun = change(pauses, True, "audit")
    assert pauses.current("m") == begun
    assert begun.text == "paused by ann@cli since 2026-01-02 03:04 UTC: audit"
    assert pauses.current("other") is None
    ended = change(pauses, False)
    assert pauses.current("m") is None
    assert ended.text == "resumed at 2026-01-02 03:04 UTC by ann@cli"
    assert Pauses(Lake(str(tmp_path))).of("m") == [begun, ended]


def test_pausing_twice_and_resuming_what_is_not_paused_change_nothing(tmp_path: Path):
    pauses = Pauses(Lake(str(tmp_path)))
    assert change(pauses, False) is None
    assert change(pauses, True, "first")
    assert change(pauses, True, "second") is None
    assert [pause.reason for pause in pauses.of("m")] == ["first"]
