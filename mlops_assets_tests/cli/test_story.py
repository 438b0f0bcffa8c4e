import pytest

from mlops_assets.cli.story import Story
from mlops_assets.domain.timeline import PeriodRow

ROW = PeriodRow(
    period="2011-08-01",
    requests=3,
    failed=0,
    version="1",
    loss_live=0.5,
    loss_first=0.5,
    flagged=(),
    action="retrain",
    reason="retraining pays",
    swap_seconds=None,
    served=3,
)


def test_what_a_period_led_to_is_told_below_its_paragraph(capsys: pytest.CaptureFixture[str]):
    with Story("bikes", 2) as story:
        story.note("run 1 failed: refused by its gates, [min_quality]")
        story.add(ROW)
        told = capsys.readouterr().err
    lines = [line.strip() for line in told.splitlines()]
    place = lines.index("retrain: retraining pays")
    assert lines[place + 1 :] == ["run 1 failed: refused by its gates, [min_quality]"]


def test_what_no_period_followed_is_told_at_the_end(capsys: pytest.CaptureFixture[str]):
    with Story("bikes", 2) as story:
        story.note("run 1 failed")
        assert "run 1 failed" not in capsys.readouterr().err
    assert "run 1 failed" in capsys.readouterr().err


def test_what_is_to_be_remembered_stays_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Story("bikes", 2) as story:
        capsys.readouterr()
        story.tell("2011-09-01: a gap")
        story.say("2011-10-01: sending requests")
        told = capsys.readouterr().err
    assert "2011-09-01: a gap\n" in told
    assert "2011-10-01: sending requests\n" not in told
