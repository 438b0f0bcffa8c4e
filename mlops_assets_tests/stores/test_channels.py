import subprocess
import sys

import pytest

from mlops_assets.stores.channels import Console, channels_of
from mlops_assets_tests.stores.receiver import receiving

VARIABLE = "TEAM_ALERTS"


def test_without_the_variable_there_is_no_channel_and_apprise_is_not_imported():
    code = (
        "import sys; from mlops_assets.stores.channels import channels_of\n"
        f"print(channels_of('{VARIABLE}'), 'apprise' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "([], ()) False\n"


def test_a_message_reaches_a_real_server_as_it_was_written(monkeypatch: pytest.MonkeyPatch):
    with receiving() as receiver:
        monkeypatch.setenv(VARIABLE, receiver.url)
        (channel,), wrong = channels_of(VARIABLE)
        assert wrong == ()
        assert channel.send("a *title*", "drift in <b>temp</b>\nsince", "warning", "opened")
        assert channel.send("a title", "it ended", "warning", "resolved")
        first, second = receiver.got
    assert (first["title"], first["type"]) == ("a *title*", "warning")
    assert first["message"] == "drift in <b>temp</b>\nsince"
    assert second["type"] == "success"


def test_a_server_that_is_away_or_fails_is_no_error_but_an_answer(monkeypatch: pytest.MonkeyPatch):
    with receiving() as receiver:
        monkeypatch.setenv(VARIABLE, receiver.url)
        (channel,), _ = channels_of(VARIABLE)
        receiver.status = 500
        assert not channel.send("t", "b", "failure", "opened")
        assert receiver.tried == 1
    assert not channel.send("t", "b", "failure", "opened")


def test_neither_names_nor_complaints_nor_logs_hold_a_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv(VARIABLE, "json://user:s3cret@127.0.0.1:9/hook  hunter2  json://127.0.0.1:9")
    found, wrong = channels_of(VARIABLE)
    assert wrong == (f"entry 2 of 3 in {VARIABLE} is no URL that Apprise understands",)
    assert [channel.name.split()[0] for channel in found] == ["json", "json"]
    assert len({channel.name for channel in found}) == 2
    assert not found[0].send("t", "b", "failure", "opened")
    text = " ".join([*(channel.name for channel in found), *wrong, caplog.text])
    assert "s3cret" not in text
    assert "hunter2" not in text


def test_the_console_writes_to_standard_output_and_to_the_log(capsys: pytest.CaptureFixture[str]):
    logged: list[str] = []
    console = Console(logged.append)
    assert console.send("[m] a title", "why", "failure", "opened")
    assert console.send("[m] a title", "why", "failure", "resolved")
    assert capsys.readouterr().out == "FAILURE [m] a title\nwhy\nRESOLVED [m] a title\nwhy\n"
    assert len(logged) == 2
