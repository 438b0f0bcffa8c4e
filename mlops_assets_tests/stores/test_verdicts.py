from pathlib import Path

from mlops_assets.domain.governor import Verdict
from mlops_assets.domain.retraining import Decision
from mlops_assets.stores import verdicts
from mlops_assets.stores.lake import Lake

DECISION = Decision("abc", "m", "2026-01-01", "3", "retrain", None, ("harm",))


def test_the_last_verdict_is_kept_and_only_another_one_is_news(tmp_path: Path):
    lake = Lake(str(tmp_path))
    assert verdicts.of(lake, "m") == {}
    waits = Verdict("wait", "paused", "abc", "paused by ann")
    assert verdicts.keep(lake, DECISION, waits)
    assert not verdicts.keep(lake, DECISION, waits)
    kept = verdicts.of(lake, "m")["2026-01-01"]
    assert (kept.started, kept.held, kept.final, kept.rule) == (False, True, False, "paused")
    assert verdicts.keep(lake, DECISION, Verdict("start", "allowed", "abc", "harm"))
    assert verdicts.of(lake, "m")["2026-01-01"].started


def test_what_is_said_after_the_start_does_not_replace_it(tmp_path: Path):
    lake = Lake(str(tmp_path))
    verdicts.keep(lake, DECISION, Verdict("start", "allowed", "abc", "harm"))
    assert not verdicts.keep(lake, DECISION, Verdict("drop", "started before", "abc", "again"))
    assert verdicts.of(lake, "m")["2026-01-01"].rule == "allowed"
