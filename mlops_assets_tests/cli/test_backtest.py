import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets_tests.backtested import rides

POLICIES = ("schedule:2", "performance", "benefit")
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings, _ = rides(tmp_path_factory.mktemp("backtest"))
    variables = {"MLOPS_HOME": str(settings.home), "MLOPS_MODELS_DIR": str(settings.models_dir)}

    def invoke(*arguments: str) -> Result:
        return CliRunner(env=variables).invoke(main, ["backtest", *arguments])

    invoke.home = settings.home  # type: ignore[attr-defined]
    return invoke


@pytest.fixture(scope="module")
def first(run: Run) -> dict[str, Any]:
    """The first run, which has to train."""
    named = [part for name in POLICIES for part in ("--policy", name)]
    result = run("rides", *named, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def cached(run: Run) -> dict[Path, int]:
    folder = run.home / "backtests" / "rides"  # type: ignore[attr-defined]
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_it_tells_what_each_policy_would_have_done(first: dict[str, Any]):
    assert first["periods"] == [f"2011-{m:02d}-01" for m in range(6, 13)] + [
        "2012-01-01",
        "2012-02-01",
    ]
    assert [one["policy"] for one in first["policies"]] == list(POLICIES)
    for one in first["policies"]:
        assert [step["period"] for step in one["steps"]] == first["periods"]
        assert one["retrains"] == sum(step["acted"] == "retrain" for step in one["steps"])
        total = sum(step["rows"] * step["loss"] for step in one["steps"])
        assert one["cost"] == pytest.approx(total + one["retrains"] * first["price"])
        assert one["loss"] == pytest.approx(total / first["rows"])
        assert 0 <= one["false_retrains_per_100"] <= 100
        assert 0 <= one["false_alerts_per_100"] <= 100
        assert one["value"] <= 1 + 1e-9
    schedule = first["policies"][0]
    # The gates refuse what is no better, so a schedule starts at most every second period.
    assert 1 <= schedule["retrains"] <= 4


def test_the_frame_and_the_prices_hold_together(first: dict[str, Any]):
    frame = first["frame"]
    assert frame["best"] <= min(frame["never"], frame["always"])
    assert set(frame["best_retrains"]) <= set(first["periods"][1:])
    assert {at["factor"] for at in first["prices"]} >= {0.3, 1.0, 3.0}
    for at in first["prices"]:
        assert at["price"] == pytest.approx(at["factor"] * first["price"])
        assert [one["policy"] for one in at["policies"]] == list(POLICIES)
    dates = [len(at["best_retrains"]) for at in first["prices"]]
    assert dates == sorted(dates, reverse=True)
    # At the tie price, never and always cost the same: losses alone, and the price of each date.
    always = frame["always"] - (len(first["periods"]) - 1) * first["price"]
    assert first["tie_price"] == pytest.approx(
        max((frame["never"] - always) / (len(first["periods"]) - 1), 0)
    )


def test_a_second_run_trains_nothing_and_says_the_same(run: Run, first: dict[str, Any]):
    assert first["trained"] > 0
    before = cached(run)
    assert sum(path.suffix == ".npz" for path in before) == first["trained"]
    named = [part for name in POLICIES for part in ("--policy", name)]
    again = json.loads(run("rides", *named, "--json").stdout)
    assert again["trained"] == 0
    assert again["from_cache"] == first["trained"]
    assert cached(run) == before
    assert {**again, "trained": 0, "from_cache": 0} == {**first, "trained": 0, "from_cache": 0}


def test_a_killed_run_goes_on_where_it_was(run: Run, first: dict[str, Any]):
    lost = sorted(path for path in cached(run) if path.suffix == ".npz")[:2]
    for path in lost:
        path.unlink()
    named = [part for name in POLICIES for part in ("--policy", name)]
    again = json.loads(run("rides", *named, "--json").stdout)
    assert again["trained"] == 2
    assert again["policies"] == first["policies"]


def test_another_price_changes_what_is_worth_it_and_trains_little(run: Run, first: dict[str, Any]):
    dear = json.loads(
        run("rides", "--policy", "benefit", "--price", "1e12", "--shuffles", "0", "--json").stdout
    )
    assert dear["trained"] == 0
    assert dear["price"] == 1e12
    assert dear["policies"][0]["retrains"] == 0
    assert dear["policies"][0]["false_retrains_per_100"] is None
    assert dear["frame"]["best_retrains"] == []


def test_the_table_the_page_and_the_picture_are_made(run: Run, first: dict[str, Any]):
    result = run("rides", "--policy", "schedule:2")
    assert result.exit_code == 0, result.output
    for told in (
        "schedule:2",
        "never",
        "always",
        "best dates",
        "The price asked for",
        "0 versions trained",
    ):
        assert told in result.stdout
    assert "schedule:2" in Path(first["page"]).read_text()
    assert Path(first["picture"]).read_bytes().startswith(b"\x89PNG")


def test_the_tables_of_all_policies_fit_into_a_hundred_columns(run: Run, first: dict[str, Any]):
    told = run("rides", "--shuffles", "0").stdout
    assert "policy" in told.split("at other prices")[1]
    assert max(len(line) for line in told.splitlines() if line.startswith(" ")) <= 100


def test_a_stretch_of_the_history_is_a_history(run: Run, first: dict[str, Any]):
    days = ("--from", "2011-04-01", "--to", "2011-12-01")
    found = json.loads(run("rides", "--policy", "schedule:2", *days, "--json").stdout)
    assert found["periods"] == ["2011-09-01", "2011-10-01", "2011-11-01"]


def test_late_labels_delay_decisions(run: Run, first: dict[str, Any]):
    found = json.loads(run("rides", "--policy", "schedule:2", "--delay", "2", "--json").stdout)
    assert found["delay"] == 2
    steps = found["policies"][0]["steps"]
    assert [step["action"] is None for step in steps[:3]] == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("rides", "--policy", "magic"), "no policy 'magic'"),
        (("rides", "--policy", "schedule:0"), "schedule:N"),
        (("rides", "--price", "-1"), "price -1"),
        (("rides", "--to", "2011-05-01"), "training needs at least 5"),
        (("rides", "--to", "2011-06-01"), "a backtest needs more"),
        (("rides", "--from", "2012-06-01"), "rides__ingest"),
        (("rides", "--from", "2030-01-01"), "no period of rides begins"),
        (("scooters",), "there is no model 'scooters'"),
    ],
)
def test_what_cannot_be_backtested_is_refused_with_the_reason(
    run: Run, arguments: tuple[str, ...], told: str
):
    result = run(*arguments)
    assert result.exit_code != 0
    assert told in result.output
