import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.settings import Settings
from mlops_assets.stores.canaries import Canaries, Canary, Walked
from mlops_assets_tests.cli.versions import MODEL, add_version, store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def answer(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.fixture
def released(prepared: Settings) -> Settings:
    """A champion, 1, and a challenger, 2."""
    add_version(prepared)
    assert run("approve", MODEL).exit_code == 0
    add_version(prepared, judged_against="1")
    return prepared


def test_a_split_is_set_shown_and_ended(released: Settings):
    words = "champion (version 1) 90%, challenger (version 2) 10%"
    assert run("split", MODEL, "champion=90", "challenger=10").stdout == f"{MODEL}: {words}\n"
    assert run("split", MODEL).stdout == f"{MODEL}: {words}\n"
    assert answer("split", MODEL)["split"] == [
        {"variant": "challenger", "version": "2", "weight": 10.0}
    ]
    assert answer("status", MODEL)["models"][0]["traffic"]["split"][0]["version"] == "2"
    assert words in " ".join(run("status", MODEL).stdout.replace("│", " ").split())
    assert run("split", MODEL, "--off").stdout == f"{MODEL}: champion (version 1) 100%\n"


def test_a_shadow_is_set_shown_and_ended(released: Settings):
    said = run("shadow", MODEL, "challenger").stdout
    assert said == f"{MODEL}: champion (version 1) 100%; version 2 watches\n"
    assert answer("shadow", MODEL)["shadow"] == "2"
    assert answer("shadow", MODEL, "--off")["shadow"] == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("split", MODEL, "challenger=lots"), "'challenger=lots' is no share"),
        (("split", MODEL, "champion=50", "challenger=10"), "add up to 60, not 100"),
        (("split", MODEL, "9=10"), "flight_delay has no version '9'"),
        (("split", "flights", "challenger=10"), "there is no model 'flights'"),
        (("shadow", MODEL, "1"), "version 1 is the champion already"),
    ],
)
def test_what_cannot_be_shared_is_told_in_one_line(
    released: Settings, arguments: tuple[str, ...], message: str
):
    result = run(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert message in result.stderr


def test_shares_and_off_together_make_no_sense(released: Settings):
    assert "not both" in run("split", MODEL, "challenger=10", "--off").stderr
    assert "not both" in run("shadow", MODEL, "challenger", "--off").stderr


def test_a_quarantine_is_shown_kept_and_ended_by_a_person(released: Settings):
    assert run("approve", MODEL).exit_code == 0
    assert run("rollback", MODEL, "--quarantine", "--reason", "angry customers").exit_code == 0
    assert "version 2" in run("status", MODEL).stdout
    assert answer("status", MODEL)["models"][0]["traffic"]["quarantined"] == ["2"]
    # Neither an approval nor a second rollback brings it back.
    for command in (("approve", MODEL), ("rollback", MODEL), ("split", MODEL, "2=5", "--force")):
        result = run(*command)
        assert result.exit_code == 1
        assert "version 2 is quarantined (by hand: angry customers)" in result.stderr
    assert answer("releases", MODEL)["incidents"][0]["reasons"] == "angry customers"
    assert "version 2 quarantined" in run("releases", MODEL).stdout
    assert run("unquarantine", MODEL, "2").exit_code == 2
    cleared = answer("unquarantine", MODEL, "2", "--reason", "a bug of ours")
    assert (cleared["kind"], cleared["version"]) == ("cleared", "2")
    assert "let out of quarantine" in run("releases", MODEL).stdout
    assert answer("approve", MODEL)["to_version"] == "2"
    assert [one.kind for one in store(released).incidents(MODEL)] == ["by hand", "cleared"]
    refused = run("unquarantine", MODEL, "2", "--reason", "again")
    assert "is not quarantined" in refused.stderr


def test_a_canary_is_shown_while_it_is_under_way(released: Settings):
    known = Canaries(store(released).registry)
    step = Walked(10.0, "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00")
    canary = Canary("2", "1", "running", "no harm proven at 1%", "run", "2026-01-01", (step,))
    known.keep(MODEL, canary)
    told = "canary of version 2 against 1, at 10%: no harm proven at 1%"
    assert answer("status", MODEL)["models"][0]["canary"] == told
    assert told in " ".join(run("status", MODEL).stdout.replace("│", " ").split())
    known.keep(MODEL, canary.ended("stopped", "surely worse"))
    assert answer("status", MODEL)["models"][0]["canary"] == ""
