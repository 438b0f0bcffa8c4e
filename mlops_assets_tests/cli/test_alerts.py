import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.domain.alerts import Changes, Resolution, Signal
from mlops_assets.settings import Settings
from mlops_assets.stores.alerts import AlertLog
from mlops_assets.stores.lake import Lake

MODEL = "flight_delay"
LINK = f"http://127.0.0.1:3000/runs/{'0123456789' * 6}"
NOW = datetime(2013, 7, 30, tzinfo=UTC)
HARM = Signal("alert:1", "d1", "warning", "look at version 1", "after p: [harm]", LINK)
RUN = Signal("run:close", "r1", "failure", "close failed", "step s raised KeyError", "")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["alerts", *arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def told(prepared: Settings) -> Settings:
    """A model with an open alert that one channel missed, and one that has ended."""
    log = AlertLog(Lake(prepared.lake_root))
    ended, harm = log.apply(MODEL, [], Changes(opened=(RUN, HARM)), NOW)
    assert ended.cause == "run:close"
    log.delivered(MODEL, harm.id, "opened", "console", arrived=True)
    log.delivered(MODEL, harm.id, "opened", "json 12345678", arrived=False)
    log.delivered(MODEL, ended.id, "opened", "console", arrived=True)
    end = Changes(resolved=(Resolution(ended.id, "run r2 succeeded"),))
    log.apply(MODEL, [ended, harm], end, NOW)
    return prepared


def test_open_alerts_come_before_past_ones(told: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "160")
    text = run().stdout
    assert text.index("look at version 1") < text.index("close failed")
    for part in (
        "after p: [harm]",
        "console, json 12345678: not reached",
        "run r2 succeeded",
    ):
        assert part in text


def test_a_link_is_never_cut(told: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "…" not in run().stdout


def test_scripts_get_everything(told: Settings):
    found = json.loads(run(MODEL, "--json").stdout)
    (still,), (past,) = found["open"], found["past"]
    assert (still["cause"], still["resolved_at"]) == ("alert:1", "")
    assert still["loop_time"] == NOW.isoformat()
    assert {"event": "opened", "channel": "json 12345678", "arrived": False} in still["deliveries"]
    assert (past["cause"], past["resolution"]) == ("run:close", "run r2 succeeded")
    assert json.loads(run("bike_demand", "--json").stdout) == {"open": [], "past": []}


def test_where_nothing_was_ever_wrong_that_is_said(prepared: Settings):
    assert run().stdout == "There was no alert.\n"
    wrong = CliRunner().invoke(main, ["alerts", "flights"])
    assert wrong.exit_code == 1
    assert "there is no model 'flights'" in wrong.stderr
