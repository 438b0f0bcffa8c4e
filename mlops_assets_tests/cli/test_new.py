import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets_tests.churn import churn, write_csv
from mlops_assets_tests.loop import load, read_model
from mlops_assets_tests.site import Handler, says, serving


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, and a table in the folder that the user stands in."""
    monkeypatch.setenv("MLOPS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_csv(churn(), tmp_path / "churn.csv")
    return tmp_path / "models"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def new(*more: str, **options: Any) -> Result:
    given = {"from": "churn.csv", "time": "snapshot_at", "label": "left", **options}
    pairs = [part for name, value in given.items() for part in (f"--{name}", value)]
    return run("new", "churn", *pairs, *more)


def proposed(refused: Result) -> str:
    """The query that a message says to type, as a shell would read it."""
    return shlex.split(refused.output[refused.output.index("--from") :])[1]


def test_a_table_becomes_a_model_that_loads_and_passes_its_check(models: Path):
    done = new()
    assert done.exit_code == 0, done.output
    assert "Looked at 1,800 rows" in done.output
    assert "the same as plan" in done.output
    assert "mlops replay churn --from 2026-06-29 --to 2026-07-27" in done.output
    model = read_model(models / "churn")
    assert model.spec.source.path == "../../churn.csv"  # type: ignore[union-attr]
    assert set(model.spec.columns) == {"age", "plan", "usage_hours", "tickets"}
    checked = run("check", "churn")
    assert checked.exit_code == 0, checked.output
    assert "churn: 1,800 rows\n  all good" in checked.output
    found = load(models.parent / "home", models)
    assert found.resolve_job_def("churn__train")


def test_a_table_on_the_web_becomes_a_model_that_passes_its_check(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    write_csv(churn()[::-1], models.parent / "churn.csv")
    local = new()
    assert "Rows are not in order" in local.output
    text = (models / "churn" / "defs.yaml").read_text()
    (models / "churn" / "defs.yaml").unlink()
    with serving(models.parent) as site:
        address = site.write("churn.csv", (models.parent / "churn.csv").read_bytes())
        done = new(**{"from": address})
        assert done.exit_code == 0, done.output
        assert done.output == local.output
        written = (models / "churn" / "defs.yaml").read_text()
        assert written.replace(address, "churn.csv") == text.replace("../../churn.csv", "churn.csv")
        checked = run("check", "churn")
        assert "churn: 1,800 rows\n" in checked.output
        assert "all good" in checked.output
        assert site.downloads == 1


def test_an_address_without_encryption_is_told_by_both_commands(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a host that only the environment's proxy knows."""
    address = "http://shop.invalid/churn.csv"
    sent = says(200, (models.parent / "churn.csv").read_bytes(), ETag='"1"')
    with serving(models.parent) as site:
        monkeypatch.setenv("http_proxy", site.url)
        monkeypatch.setenv("no_proxy", "")
        site.tricks[address] = [sent] * 9
        done = new(**{"from": address})
        assert done.exit_code == 0, done.output
        assert "! what comes from http://shop.invalid is not encrypted" in done.output
        checked = run("check", "churn")
        assert checked.exit_code == 0
        assert "source.path: what comes from http://shop.invalid is not" in checked.output
        assert "0 problems, 1 warnings" in checked.output


def test_a_page_of_a_browser_is_named_and_nothing_is_written(models: Path):
    with serving(models.parent) as site:
        done = new(**{"from": f"{site.url}/"})
    assert done.exit_code == 1
    assert "is a web page" in done.output
    assert not models.exists()


def test_unsorted_rows_are_told_to_do_no_harm(models: Path):
    assert "not in order" not in new().output
    (models / "churn" / "defs.yaml").unlink()
    (models / "churn").rmdir()
    write_csv(churn()[::-1], models.parent / "churn.csv")
    assert "Rows are not in order of time: no harm, they are sorted" in new().output


def test_nothing_is_overwritten(models: Path):
    new()
    path = models / "churn" / "defs.yaml"
    path.write_text("mine")
    done = new()
    assert done.exit_code == 1
    assert f"{path} is there already" in done.output
    assert path.read_text() == "mine"


REFUSED: dict[str, dict[str, str]] = {
    "has no column 'when'; it has": {"time": "when"},
    "the column holds no times in ISO 8601, but such as": {"time": "plan"},
    "Columns of times: snapshot_at, decided_at. A query can make one": {"time": "plan"},
    "--label who: the source has no such column": {"label": "who"},
    "nothing.csv is not there": {"from": "nothing.csv"},
    "there is no encoding 'klingon': state": {"encoding": "klingon"},
    "--delimiter: String should have at most 1 character, not '::'": {"delimiter": "::"},
    "'soon' is no delay: write 90m, 12h, 3d or 2w": {"known-after": "soon"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_mistake_is_answered_with_what_to_change_and_writes_nothing(message: str, models: Path):
    done = new(**REFUSED[message])
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert not models.exists()


@pytest.mark.parametrize("name", ["Churn", "1st", "a-b", "../up", "a b"])
def test_a_name_that_would_not_do_is_refused(name: str, models: Path):
    done = run("new", name, "--from", "churn.csv", "--time", "snapshot_at", "--label", "left")
    assert done.exit_code == 1
    assert "is no name for a model" in done.output


def test_what_the_user_says_is_kept(models: Path):
    done = new(label="usage_hours", above="20", period="daily", entity="customer_id")
    assert done.exit_code == 0, done.output
    spec = read_model(models / "churn").spec
    assert (spec.task, spec.label.above, spec.period.every) == ("binary", 20, "daily")


def test_a_database_table_becomes_a_model(models: Path):
    from sqlalchemy import create_engine

    url = f"sqlite:///{models.parent / 'x.db'}"
    engine = create_engine(url)
    churn(10).assign(snapshot_at=lambda f: f["snapshot_at"].dt.tz_localize(None)).drop(
        columns="decided_at"
    ).to_sql("customers", engine, index=False)
    engine.dispose()
    done = new("--known-after", "2d", **{"from": url, "table": "customers"})
    assert done.exit_code == 0, done.output
    spec = read_model(models / "churn").spec
    assert spec.source.kind == "sql"
    assert spec.label.known_after.days == 2
    assert "known_after: P2D" in (models / "churn" / "defs.yaml").read_text()


def test_a_table_of_an_old_spreadsheet_is_read_as_the_user_describes_it(models: Path):
    frame = churn().assign(plan=lambda f: f["plan"].replace("basic", "légère"))
    write = {"sep": ";", "encoding": "cp1252", "index": False, "decimal": ","}
    frame.to_csv(models.parent / "churn.csv", date_format="%d.%m.%Y %H:%M", **write)
    refused = new()
    assert refused.exit_code == 1
    assert "is not utf-8" in refused.output
    refused = new(encoding="cp1252")
    assert refused.exit_code == 1
    assert "Add --time-format '%d.%m.%Y %H:%M'." in refused.output
    done = new(**{"encoding": "cp1252", "time-format": "%d.%m.%Y %H:%M"})
    assert done.exit_code == 0, done.output
    assert "The file has ';' as its delimiter." in done.output
    assert "The file has ',' as its decimal." in done.output
    spec = read_model(models / "churn").spec
    assert spec.columns["plan"].categories == ("légère", "plus", "premium")
    assert spec.columns["usage_hours"].type == "number"
    assert run("check", "churn").exit_code == 0


def test_a_table_without_an_id_becomes_a_model_by_the_query_that_is_proposed(models: Path):
    frame = churn().drop(columns=["customer_id", "note"]).round({"usage_hours": -1})
    write_csv(frame.assign(snapshot_at=lambda f: f["snapshot_at"].dt.floor("D")), "churn.csv")
    refused = new()
    assert refused.exit_code == 1
    query = proposed(refused)
    assert query == "SELECT row_number() OVER () AS row_id, * FROM 'churn.csv'"
    done = new(**{"from": query})
    assert done.exit_code == 0, done.output
    assert read_model(models / "churn").spec.entity == "row_id"
    assert run("check", "churn").exit_code == 0


def test_years_without_an_id_become_a_model_by_the_query_that_is_proposed(models: Path):
    # DuckDB would read numbers of this size as years too.
    frame = churn()[["age", "left"]].assign(year=[2001 + number // 150 for number in range(1800)])
    frame.to_csv("churn.csv", index=False)
    refused = new("--time-format", "%Y", time="year")
    assert refused.exit_code == 1
    done = new(**{"from": proposed(refused)}, time="year")
    assert done.exit_code == 0, done.output
    assert "Looked at 1,800 rows, 2001-01-01 to 2012-01-01" in done.output
    spec = read_model(models / "churn").spec
    assert (spec.entity, spec.columns["age"].type) == ("row_id", "integer")
    assert run("check", "churn").exit_code == 0


def test_year_month_and_day_and_then_a_row_number_are_proposed_one_after_the_other(models: Path):
    frame = churn().drop(columns=["customer_id", "note", "decided_at"]).round({"usage_hours": -1})
    at = frame.pop("snapshot_at").dt
    frame = frame.assign(**{"the year": at.year, "Month": at.month, "day": at.day})
    frame.to_csv("churn.csv", index=False)
    refused = new(time="the year")
    assert "Add --time-format %Y. Or make dates of it, month and day: --from" in refused.output
    again = new(**{"from": proposed(refused)}, time="event_date")
    assert again.exit_code == 1
    assert "no column tells the rows apart" in again.output
    done = new(**{"from": proposed(again)}, time="event_date")
    assert done.exit_code == 0, done.output
    assert "Looked at 1,800 rows, 2026-05-04 to 2026-07-26" in done.output
    assert run("check", "churn").exit_code == 0


@pytest.mark.parametrize("written", ["csv", "parquet"])
def test_how_long_ago_another_time_was_becomes_an_input_by_the_query_that_is_proposed(
    models: Path, written: str
):
    frame = churn().drop(columns=["note"])
    frame["joined on"] = frame["snapshot_at"] - pd.to_timedelta(1 + frame.index % 50, unit="h")
    frame.loc[3, "joined on"] = pd.NaT
    if written == "csv":
        write_csv(frame, "churn.csv")
    else:
        frame.to_parquet("churn.parquet")
    done = new(**{"from": f"churn.{written}"})
    assert done.exit_code == 0, done.output
    assert "how long before snapshot_at joined on lies" in done.output
    query = proposed(done)
    (models / "churn" / "defs.yaml").unlink()
    done = new(**{"from": query})
    assert done.exit_code == 0, done.output
    assert "A query makes an input" not in done.output
    column = read_model(models / "churn").spec.columns["minutes_since_joined on"]
    assert column.type == "integer"
    assert column.nullable
    assert "seen 60 to 3000" in done.output
    assert run("check", "churn").exit_code == 0


def test_a_table_on_the_web_without_an_id_becomes_a_model_by_the_query_that_is_proposed(
    models: Path,
):
    frame = churn().drop(columns=["customer_id", "note"]).round({"usage_hours": -1})
    write_csv(frame.assign(snapshot_at=lambda f: f["snapshot_at"].dt.floor("D")), "churn.csv")
    with serving(models.parent) as site:
        site.write("churn.csv", Path("churn.csv").read_bytes())
        refused = new(**{"from": f"{site.url}/churn.csv?version=3"})
        query = proposed(refused)
        assert query.endswith(f"* FROM read_csv('{site.url}/churn.csv?version=3')")
        done = new(**{"from": query})
        assert done.exit_code == 0, done.output
        assert run("check", "churn").exit_code == 0
        assert site.downloads == 1


def test_a_locked_table_is_read_with_the_token_of_a_variable(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    body = (models.parent / "churn.csv").read_bytes()

    def locked(handler: Handler) -> None:
        right = handler.headers["Authorization"] == "Bearer t0p-s3cret"
        handler.answer(200 if right else 401, body if right else b"", ETag='"1"')

    with serving(models.parent) as site:
        address = site.trick("locked.csv", *[locked] * 9)
        refused = new(**{"from": address})
        assert "wants a login" in refused.output
        assert "--token-env" in run("new", "--help").output
        monkeypatch.setenv("SHOP_TOKEN", "t0p-s3cret")
        done = new(**{"from": address, "token-env": "SHOP_TOKEN"})
        assert done.exit_code == 0, done.output
        assert run("check", "churn").exit_code == 0
    written = (models / "churn" / "defs.yaml").read_text()
    assert "token_env: SHOP_TOKEN" in written
    assert "t0p-s3cret" not in written


def test_seconds_since_1970_become_times_by_the_query_that_is_proposed(models: Path):
    frame = churn().assign(
        snapshot_at=lambda f: (f["snapshot_at"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta("1s")
    )
    frame.drop(columns="decided_at").to_csv("churn.csv", index=False)
    refused = new()
    assert "If these are seconds since 1970" in refused.output
    done = new(**{"from": proposed(refused)})
    assert done.exit_code == 0, done.output
    assert "2026-05-04 to 2026-07-26" in done.output


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%Y%m%d", "%s"], ids=["iso", "german", "digits", "s"]
)
def test_text_and_numbers_of_a_parquet_file_become_times_by_the_query_that_is_proposed(
    form: str, models: Path
):
    frame = churn().drop(columns="decided_at")
    times = frame["snapshot_at"]
    texts = (times.astype("int64") // 10**9) if form == "%s" else times.dt.strftime(form)
    frame.assign(snapshot_at=texts).to_parquet("churn.parquet")
    refused = new(**{"from": "churn.parquet"})
    assert f"holds no times, but such as '{texts[0]}'" in refused.output
    done = new(**{"from": proposed(refused)})
    assert done.exit_code == 0, done.output
    assert "Looked at 1,800 rows, 2026-05-04 to 2026-07-26" in done.output


def test_times_with_and_without_a_zone_are_read_as_utc_by_the_query_that_is_proposed(models: Path):
    frame = churn().rename(columns={"snapshot_at": 'when "it" was'}).drop(columns="decided_at")
    texts = frame['when "it" was'].dt.strftime("%Y-%m-%d %H:%M:%S")
    frame['when "it" was'] = texts + pd.Series(["", "+02:00"] * 900)
    frame.to_csv("churn.csv", index=False)
    refused = new(time='when "it" was')
    assert f"some times have a zone, such as '{texts[1]}+02:00', and others none" in refused.output
    done = new(**{"from": proposed(refused)}, time='when "it" was')
    assert done.exit_code == 0, done.output
    assert "Looked at 1,800 rows, 2026-05-0" in done.output


def test_row_numbers_without_a_name_are_passed_over(models: Path):
    churn().drop(columns="decided_at").to_csv("churn.csv")
    assert (models.parent / "churn.csv").read_text().startswith(",customer_id,")
    done = new()
    assert done.exit_code == 0, done.output
    assert "" not in read_model(models / "churn").spec.source_columns
    assert run("check", "churn").exit_code == 0


def test_a_label_of_lists_is_refused_as_what_it_is(models: Path):
    churn().assign(left=[["yes"]] * 1800).to_parquet("churn.parquet")
    assert "column 'left' holds list<" in new(**{"from": "churn.parquet"}).output


def test_a_few_values_that_are_no_times_are_named_and_counted(models: Path):
    text = (models.parent / "churn.csv").read_text().splitlines()
    field = text[5].split(",")
    text[5] = ",".join([field[0], "n/a", *field[2:]])
    (models.parent / "churn.csv").write_text("\n".join(text))
    refused = new()
    assert "the column holds times, but 'n/a' in row 5." in refused.output
    done = new(**{"from": proposed(refused)})
    assert done.exit_code == 0, done.output
    assert "! 1 rows have no snapshot_at" in done.output
    checked = run("check", "churn")
    assert checked.exit_code == 0
    assert "1 rows have no snapshot_at: they belong to no period" in checked.output


def test_years_alone_become_yearly_periods_with_the_format_that_is_proposed(models: Path):
    frame = churn(20, 60).assign(snapshot_at=lambda f: 1980 + f.index // 60, person=range(1200))
    frame.drop(columns=["customer_id", "decided_at"]).to_csv("churn.csv", index=False)
    refused = new()
    assert "Add --time-format %Y." in refused.output
    done = new(**{"time-format": "%Y"})
    assert done.exit_code == 0, done.output
    spec = read_model(models / "churn").spec
    assert (spec.period.every, str(spec.period.start)) == ("yearly", "1980-01-01")
    assert "mlops replay churn --from 1992-01-01 --to 2000-01-01" in done.output


def test_a_query_over_files_becomes_a_model_wherever_it_is_asked_from(
    models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    done = new(**{"from": "SELECT * EXCLUDE (note, refund) FROM 'churn.csv' WHERE age < 60"})
    assert done.exit_code == 0, done.output
    spec = read_model(models / "churn").spec
    assert spec.source.kind == "duckdb"
    assert "'../../churn.csv'" in spec.source.query
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("check", "churn").exit_code == 0
    assert "refund" not in (models / "churn" / "defs.yaml").read_text().split("columns:")[1]
