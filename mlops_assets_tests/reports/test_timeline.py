import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.timeline import PeriodRow
from mlops_assets.reports.canvas import BLUE, GREEN, ORANGE, VERMILLION
from mlops_assets.reports.timeline import timeline_html, timeline_png
from mlops_assets_tests.reports.pictures import assert_has_content, share_of

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>"


def rows(count: int) -> list[PeriodRow]:
    return [
        PeriodRow(
            period=f"2013-{index:03d}",
            requests=1_000,
            failed=0,
            version="1" if index < count / 2 else "2",
            loss_live=0.5 - 0.001 * index,
            loss_first=0.5 + 0.001 * index,
            flagged=("wind", "carrier") if index % 5 == 2 else (),
            action=("nothing", "alert", "retrain", "nothing", "rollback")[index % 5],
            reason="loss 0.51 above 0.47",
            swap_seconds=0.4 if index == count // 2 else None,
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 12, 52, 160])
def test_any_number_of_periods_makes_a_picture(count: int):
    assert_has_content(timeline_png(rows(count), "flights"))


def test_the_picture_shows_losses_drift_and_every_action():
    picture = timeline_png(rows(20), "flights")
    for colour in (BLUE, ORANGE, GREEN, VERMILLION):
        assert share_of(picture, colour) > 0.0003, colour


def test_without_drift_or_actions_their_colours_are_missing():
    quiet = [replace(row, flagged=(), action="nothing") for row in rows(20)]
    picture = timeline_png(quiet, "flights")
    for colour in (ORANGE, GREEN, VERMILLION):
        assert share_of(picture, colour) == 0, colour


def test_periods_without_labels_and_unknown_actions_are_drawn():
    unknown = [replace(row, loss_live=None, loss_first=None, action="dance") for row in rows(9)]
    assert_has_content(timeline_png(unknown, "flights"))


def test_the_page_has_totals_every_decision_and_the_picture():
    page = timeline_html(rows(20), "flights in 2013", {"report": "flights/1/drift.html"})
    assert page.count("<tr") == 21
    assert page.count('<tr class="released"') == 1
    assert "<dd>20,000</dd>" in page
    assert "<dd>0.40 s</dd>" in page
    assert page.count("loss 0.51 above 0.47") == 20
    assert "wind, carrier" in page
    assert '<a href="flights/1/drift.html" rel="noreferrer">report</a>' in page
    encoded = re.search(r"data:image/png;base64,([^\"]+)", page)
    assert encoded
    assert_has_content(base64.b64decode(encoded[1]))


def test_failed_requests_stand_out():
    page = timeline_html([replace(rows(1)[0], failed=3)], "flights", {})
    assert '<span class="failed">3 failed</span>' in page


def test_the_page_is_inert_whatever_it_is_told():
    row = replace(
        rows(1)[0],
        period=HOSTILE,
        version=HOSTILE,
        flagged=(HOSTILE,),
        action=HOSTILE,
        reason=HOSTILE,
    )
    page = timeline_html([row], HOSTILE, {HOSTILE: 'a" onclick="alert(3)'})
    assert "<script" not in page
    assert "<img src=x" not in page
    assert 'onclick="' not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("address", ["javascript:alert(1)", " javascript:alert(1)", "data:,x"])
def test_a_link_that_could_run_something_is_refused(address: str):
    with pytest.raises(DataError, match="use http, https, file or a path"):
        timeline_html(rows(1), "flights", {"x": address})


def test_the_same_periods_make_the_same_page():
    assert timeline_html(rows(5), "flights", {}) == timeline_html(rows(5), "flights", {})


@pytest.mark.browser
def test_a_browser_shows_the_page_and_runs_nothing(browser_page: Any, tmp_path: Path):
    row = replace(rows(1)[0], reason=HOSTILE, action=HOSTILE, flagged=(HOSTILE,))
    path = tmp_path / "timeline.html"
    path.write_text(timeline_html([row, *rows(6)], HOSTILE, {"x": "y.html"}))
    dialogs, requests = [], []
    browser_page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    browser_page.on("request", lambda request: requests.append(request.url[:30]))
    browser_page.goto(path.as_uri())
    assert browser_page.evaluate("document.querySelector('img').naturalWidth") > 500
    assert browser_page.locator("tbody tr").count() == 7
    assert HOSTILE in browser_page.locator("tbody").inner_text()
    assert dialogs == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
