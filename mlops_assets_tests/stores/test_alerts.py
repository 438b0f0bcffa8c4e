from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from mlops_assets.domain.alerts import Changes, Delivery, Resolution, Signal, reconcile
from mlops_assets.stores.alerts import AlertLog
from mlops_assets.stores.lake import Lake

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SIGNAL = Signal("run:close", "r1", "failure", "close failed", "step x raised KeyError", "L")


def test_an_alert_begins_is_delivered_and_ends_and_all_of_it_is_kept(tmp_path: Path):
    log = AlertLog(Lake(str(tmp_path)))
    assert log.of("m") == []
    (alert,) = log.apply("m", [], reconcile("m", [], [SIGNAL]), NOW)
    assert (alert.cause, alert.title, alert.link) == ("run:close", "close failed", "L")
    assert (alert.is_open, alert.loop_time) == (True, NOW.isoformat())
    assert log.delivered("m", alert.id, "opened", "json 1", arrived=False)
    assert not log.delivered("m", alert.id, "opened", "json 1", arrived=False)
    assert log.delivered("m", alert.id, "opened", "console", arrived=True)
    ended = Changes(resolved=(Resolution(alert.id, "run r2 succeeded"),))
    (alert,) = log.apply("m", log.of("m"), ended, NOW)
    assert (alert.is_open, alert.resolution) == (False, "run r2 succeeded")
    assert set(alert.deliveries) == {
        Delivery("opened", "json 1", False),
        Delivery("opened", "console", True),
    }
    again = log.apply("m", [alert], reconcile("m", [alert], [SIGNAL]), NOW)
    assert [one.is_open for one in again] == [False, True]
    assert AlertLog(Lake(str(tmp_path))).of("m") == again
    assert log.of("other") == []


def test_of_many_that_begin_the_same_alert_one_does(tmp_path: Path):
    log = AlertLog(Lake(str(tmp_path)))
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: log.open("m", SIGNAL, NOW), range(8)))
    assert sum(won) == 1
    assert len(log.of("m")) == 1
    assert not log.open("m", SIGNAL, NOW)


def test_text_that_would_break_a_line_is_kept_as_one(tmp_path: Path):
    log = AlertLog(Lake(str(tmp_path)))
    nasty = Signal("gates", "4", "warning", "a\nb", "x\x1b[31m\r\ny", "")
    (alert,) = log.apply("m", [], Changes(opened=(nasty,)), NOW)
    assert (alert.title, alert.reason) == ("a b", "x [31m y")
