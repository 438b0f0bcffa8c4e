"""What people see of the loop: Dagster's own pages in a real browser, as `mlops up` serves them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from mlops_assets.assets.training import GATES
from mlops_assets.cli.home import prepare_home
from mlops_assets.cli.services import standard_services
from mlops_assets.cli.supervisor import Supervisor
from mlops_assets.components.tabular_model import ASSETS
from mlops_assets.settings import Settings
from mlops_assets.stores.clock import Clock
from mlops_assets_tests.cli.conftest import of_home

pytestmark = [pytest.mark.browser, pytest.mark.loop]

PERIOD = "2013-06-10"
FAILED = "calibrated"
REASON = "expected calibration error 0.2715 (limit 0.15)"
GROUPS = ("data", "training", "release", "monitoring", "batch")
# Dagster's names of the kinds that it knows; a kind without an icon keeps its own.
KINDS = {
    "raw_data": {"Delta Lake", "Parquet"},
    "validated_data": {"Delta Lake", "Pandera"},
    "features": {"Delta Lake", "pandas"},
    "training_set": {"Delta Lake"},
    "challenger": {"Scikit Learn", "ML Flow", "onnx"},
    "champion": {"ML Flow"},
    "model_card": {"ML Flow"},
    "predictions": {"Delta Lake"},
    "ground_truth": {"Delta Lake"},
    "drift_report": {"evidently"},
    "performance_estimate": {"Python"},
    "performance_report": {"Scikit Learn"},
    "staleness_report": {"Python"},
    "retrain_decision": {"Python"},
    "policy_backtest": {"Scikit Learn"},
    "batch_predictions": {"Delta Lake", "onnx"},
}


@dataclass(frozen=True)
class Ui:
    """Dagster's address, and the picture that the challenger carries."""

    url: str
    picture: bytes


@pytest.fixture(scope="module")
def ui(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """Webserver, daemon and code server on a home in which little has happened."""
    home = tmp_path_factory.mktemp("ui") / "home"
    settings = Settings(home=home, tracking_uri="", lake_uri="")
    prepare_home(settings)
    # Before all history, so that the sensors tick and find nothing to do.
    Clock(settings.clock_file).set(datetime(2010, 1, 1, tzinfo=UTC))
    picture = _report_events(settings)
    with Supervisor(settings, standard_services(settings, ("dagster",))) as up:
        yield Ui(up.urls["dagster"], picture)
        up.raise_if_failed()
    assert of_home(home) == []


def _report_events(settings: Settings) -> bytes:
    """A period of raw data and a judged challenger, described as their assets describe them."""
    import dagster as dg

    from mlops_assets.assets.tables import records_table
    from mlops_assets.reports import plots

    key = dg.AssetKey(["flight_delay", "challenger"])
    probability = np.linspace(0.05, 0.95, 50)
    outputs = np.column_stack([1 - probability, probability])
    y = (probability > np.tile([0.3, 0.7], 25)).astype(int)
    picture = plots.png(plots.roc_curves(y, outputs, ("0", "1")))
    gates = [
        {"gate": gate, "passed": gate != FAILED, "reason": REASON if gate == FAILED else "fine"}
        for gate in GATES
    ]
    events = [
        dg.AssetMaterialization(
            dg.AssetKey(["flight_delay", "raw_data"]),
            partition=PERIOD,
            metadata={"dagster/row_count": 6639, "content_hash": "beca281546e9"},
        ),
        dg.AssetMaterialization(
            key,
            metadata={
                "version": "1",
                "holdout_log_loss": 0.5608,
                "gates": records_table(gates),
                "roc": dg.MetadataValue.md(plots.markdown_image(picture, "roc")),
            },
        ),
        *(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=str(gate["gate"]),
                passed=bool(gate["passed"]),
                description=str(gate["reason"]),
                metadata={"limit": 0.15},
            )
            for gate in gates
        ),
    ]
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        for event in events:
            instance.report_runless_asset_event(event)
    return picture


@pytest.fixture
def page(browser_page: Any) -> Iterator[Any]:
    """A page that had no error by the end of its test; other jobs may slow it down."""
    errors: list[str] = []
    browser_page.on("pageerror", lambda error: errors.append(str(error)))
    browser_page.set_default_timeout(60_000)
    yield browser_page
    assert errors == []


def lines(page: Any) -> list[str]:
    """The page's words, line by line; Dagster doubles names that it may have to shorten.

    Waits until nothing on the page is still being loaded.
    """
    page.wait_for_function("() => !document.body.innerText.includes('Loading')")
    found = [line.strip() for line in page.locator("body").inner_text().splitlines()]
    return [line for line, _ in groupby(line for line in found if line)]


def nodes(page: Any) -> dict[str, set[str]]:
    """What each node of an asset graph says, by the asset's name."""
    found = lines(page)
    starts = [place - 1 for place, line in enumerate(found) if line == "Latest event"]
    ends = [*starts[1:], len(found)]
    parts = [found[start:end] for start, end in zip(starts, ends, strict=True)]
    names = [part[0] for part in parts]
    assert len(set(names)) == len(names)
    return {part[0]: set(part[1:]) for part in parts}


def row(page: Any, name: str) -> Any:
    """The row of an asset's metadata with this name."""
    cell = page.get_by_role("cell", name=name, exact=True)
    return page.get_by_role("row").filter(has=cell)


@pytest.mark.parametrize(
    ("model", "periods", "checks"),
    [
        ("flight_delay", "52 partitions", f"{len(GATES) - 1} / {len(GATES)} Passed"),
        ("bike_demand", "24 partitions", f"0 / {len(GATES)} Passed"),
    ],
)
def test_the_graph_of_a_model_shows_its_assets_groups_kinds_and_checks(
    ui: Ui, page: Any, model: str, periods: str, checks: str
):
    # Nodes tell their facts only where there is room.
    page.set_viewport_size({"width": 2600, "height": 1300})
    selection = quote(f'key:"{model}/*"', safe="")
    groups = quote(",".join(f"global@global:{group}" for group in GROUPS), safe="")
    page.goto(f"{ui.url}/asset-groups~{selection}/?expanded={groups}")
    page.get_by_text(checks).wait_for()
    page.get_by_text(periods).first.wait_for()
    # Nodes get their facts one after the other.
    for _ in range(60):
        found = nodes(page)
        drawn = all(kinds <= found.get(name, set()) for name, kinds in KINDS.items())
        if drawn and periods in found["raw_data"] and checks in found["challenger"]:
            break
        page.wait_for_timeout(500)
    assert set(found) == {asset.__name__ for asset in ASSETS} == set(KINDS)
    for name, kinds in KINDS.items():
        assert kinds <= found[name], name
    assert periods in found["raw_data"]
    assert checks in found["challenger"]
    # Once in the list on the left, once as a box.
    boxes = [group for group in GROUPS if lines(page).count(group) >= 2]
    assert boxes == list(GROUPS)
    page.get_by_text("champion", exact=True).first.click()
    page.get_by_text("The version that serves: the registry's alias").wait_for()
    assert page.url.partition("?")[0].endswith(quote(f"{model}/champion", safe=""))


def test_the_challengers_page_tells_what_it_is(ui: Ui, page: Any):
    page.goto(f"{ui.url}/assets/flight_delay/challenger")
    row(page, "roc").wait_for()
    page.get_by_text("The winner of the search over candidates").first.wait_for()
    found = lines(page)
    for text in ("training", "operations", "Scikit Learn", "ML Flow", "onnx"):
        assert text in found
    assert any(line.startswith("The winner of the search over candidates") for line in found)
    assert "Arrives more than 15 minutes late" in row(page, "model").inner_text()
    assert "0.5608" in row(page, "holdout_log_loss").inner_text()
    table = page.get_by_role("table").filter(has_text=REASON).last
    for gate in GATES:
        assert gate in table.inner_text()
    # Nothing is cut off on a page of this width.
    box = table.bounding_box()
    assert box["x"] + box["width"] < 1280


def test_a_plot_of_the_challenger_is_a_picture(ui: Ui, page: Any):
    page.goto(f"{ui.url}/assets/flight_delay/challenger")
    row(page, "roc").get_by_text("[Show Markdown]").click()
    image = page.get_by_role("img", name="roc")
    image.wait_for()
    assert image.get_attribute("src").startswith("data:image/png;base64,")
    shown = image.evaluate("async image => (await image.decode(), image.naturalWidth)")
    assert shown == struct.unpack(">I", ui.picture[16:20])[0] > 0


def test_the_challengers_checks_are_its_gates_with_their_reasons(ui: Ui, page: Any):
    page.goto(f"{ui.url}/assets/flight_delay/challenger?view=checks")
    page.get_by_text("Failed", exact=True).first.wait_for()
    for gate in GATES:
        page.get_by_text(gate, exact=True).first.wait_for()
    found = lines(page)
    assert f"Checks ({len(GATES)})" in found
    outcomes = {gate: found[found.index(gate) + 1] for gate in GATES}
    assert outcomes == {gate: "Failed" if gate == FAILED else "Succeeded" for gate in GATES}
    page.get_by_text(FAILED).first.click()
    page.get_by_text(REASON).first.wait_for()
    found = lines(page)
    assert GATES[FAILED] in found
    assert "This is a blocking asset check." in found


def test_a_period_of_raw_data_has_its_own_facts(ui: Ui, page: Any):
    page.goto(f"{ui.url}/assets/flight_delay/raw_data?view=partitions&partition={PERIOD}")
    page.get_by_text("beca281546e9").wait_for()
    found = lines(page)
    assert "Materialized (1)" in found
    assert "Missing (51)" in found
    assert "6639" in found


def test_the_automation_page_lists_sensors_and_schedules_of_both_models(ui: Ui, page: Any):
    from playwright.sync_api import expect

    page.goto(f"{ui.url}/automation")
    cadences = {"flight_delay": "only on Monday", "bike_demand": "on day 1 of the month"}
    for cadence in cadences.values():
        page.get_by_text(cadence).wait_for()
    found = lines(page)
    for model, cadence in cadences.items():
        sensors = ("new_periods", "late_labels", "retrain", "alerts")
        assert {f"{model}__{sensor}" for sensor in sensors} <= set(found)
        assert cadence in found[found.index(f"{model}__cadence") + 1]
    # Eight sensors, those on failed runs and removed models, and the two that close MLflow runs
    # are on; schedules wait for a person.
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(12)
    # A switch and a box to select by for each, and one for all.
    assert page.get_by_role("checkbox").count() == 2 * 14 + 1
