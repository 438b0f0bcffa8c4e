import json
from pathlib import Path

from mlops_assets.stores.links import Links, dagster_address


def test_links_lead_to_what_dagster_shows_and_nowhere_without_an_address():
    links = Links("http://127.0.0.1:3000/")
    page = "http://127.0.0.1:3000/assets/m/drift_report"
    assert links.asset("m", "drift_report") == page
    hourly = links.asset("m", "drift_report", "2026-01-02-03:00")
    assert hourly == f"{page}?view=partitions&partition=2026-01-02-03%3A00"
    assert links.checks("m", "drift_report") == f"{page}?view=checks"
    assert links.run("abc") == "http://127.0.0.1:3000/runs/abc"
    nowhere = Links("")
    assert {nowhere.asset("m", "a"), nowhere.checks("m", "a"), nowhere.run("r")} == {""}


def test_the_address_is_the_one_that_mlops_up_published(tmp_path: Path):
    path = tmp_path / "up.json"
    assert dagster_address(path) == ""
    path.write_text("no json")
    assert dagster_address(path) == ""
    services = [{"name": "serve", "url": "http://a"}, {"name": "dagster", "url": "http://b"}]
    path.write_text(json.dumps({"services": services}))
    assert dagster_address(path) == "http://b"
    path.write_text(json.dumps({"services": services[:1]}))
    assert dagster_address(path) == ""
