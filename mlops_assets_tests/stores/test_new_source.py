import os
from pathlib import Path

import pytest

from mlops_assets.domain.errors import SourceError
from mlops_assets.stores.new_source import new_source
from mlops_assets.stores.sources import column_names
from mlops_assets_tests.churn import churn, write_csv
from mlops_assets_tests.site import says, serving


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tables that the user stands in; models are in models/."""
    (tmp_path / "data").mkdir()
    (tmp_path / "models").mkdir()
    write_csv(churn(2), tmp_path / "data" / "churn.csv")
    churn(2).to_parquet(tmp_path / "churn.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(text: str, here: Path, table: str = ""):
    return new_source(text, table=table, model="churn", folder=here / "models" / "churn")


def test_a_relative_path_is_written_relative_to_the_model_and_read_from_here(here: Path):
    found = made("data/churn.csv", here)
    assert found.keys == {"kind": "csv", "path": "../../data/churn.csv"}
    assert "left" in column_names(found.source, Path("/nowhere"))


def test_an_absolute_path_stays_absolute(here: Path):
    path = str(here / "churn.parquet")
    assert made(path, here).keys == {"kind": "parquet", "path": path}


def test_other_endings_are_read_as_text_or_answered_with_a_query(here: Path):
    write_csv(churn(1), here / "churn.tsv", sep="\t")
    assert made("churn.tsv", here).keys["kind"] == "csv"
    (here / "churn.jsonl").write_text("{}")
    with pytest.raises(SourceError, match=r"a query reads it: --from .FROM .churn"):
        made("churn.jsonl", here)


def test_a_folder_is_of_the_kind_of_its_files(here: Path):
    folder = here / "many"
    folder.mkdir()
    (here / "churn.parquet").rename(folder / "1.parquet")
    assert made("many", here).keys["kind"] == "parquet"
    write_csv(churn(1), folder / "2.csv")
    with pytest.raises(SourceError, match=r"many holds Parquet and CSV files: .* glob"):
        made("many", here)


def test_a_database_needs_a_table_and_its_password_stays_out_of_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CHURN_DATABASE_URL", "")
    with pytest.raises(SourceError, match="needs --table"):
        made("sqlite:///x.db", here)
    plain = made("sqlite:///x.db", here, table="churn")
    assert plain.keys == {"kind": "sql", "url": "sqlite:///x.db", "table": "churn"}
    secret = made("postgresql+psycopg2://me:hunter2@db/x", here, table="churn")
    assert "hunter2" not in str(secret.keys)
    assert secret.keys["url_env"] == secret.variable == "CHURN_DATABASE_URL"
    assert "hunter2" in os.environ["CHURN_DATABASE_URL"]


REFUSED = {
    "nothing.csv": "nothing.csv is not there",
    "nothing": "is no file or folder here, no s3",
    "data/notes.docx": "the ending tells no kind of source",
    "https://me:pw@example.org/churn.csv": "the address holds a key",
    "https://example.org/churn.csv?api_key=1": "the address holds a key",
    "https://example.org/*.csv": "names one file",
    "https://": "no address of a file",
    "https://example.org/churn.json": r"JSON by its ending; a query reads it: --from .FROM",
    "ftp://example.org/churn.csv": "needs --table",
    "empty": "holds no Parquet or CSV files",
}


CSV, PARQUET = b"a,b\n1,2\n", b"PAR1rest"
# Address, content, what the server calls it, and the kind of source.
SENT = {
    "x.csv": (CSV, "", "csv"),
    "x.CSV?version=3": (CSV, "", "csv"),
    "x.tsv.gz": (CSV, "application/gzip", "csv"),
    "x.parquet": (PARQUET, "text/csv", "parquet"),
    "table": (PARQUET, "application/octet-stream", "parquet"),
    "download.php?file=x.csv": (CSV, "text/csv; charset=utf-8", "csv"),
    "table/": (CSV, "application/csv", "csv"),
}


@pytest.mark.parametrize("name", SENT)
def test_an_address_is_of_the_kind_of_its_ending_or_of_what_is_sent(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLOPS_HOME", str(here / "home"))
    body, sent, kind = SENT[name]
    with serving(here) as site:
        address = site.trick(name, says(200, body, Content_Type=sent))
        found = made(address, here)
        assert found.keys == {"kind": kind, "path": address}
        assert found.source.kind == kind
        known_by_ending = name.startswith("x.")
        assert site.downloads == (0 if known_by_ending else 1)


def test_what_is_sent_without_a_kind_is_said_to_be_csv(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLOPS_HOME", str(here / "home"))
    with serving(here) as site:
        address = site.trick("raw", *[says(200, CSV, Content_Type="text/plain")] * 2)
        with pytest.raises(SourceError, match=r"sent as text/plain: .* --delimiter ','"):
            made(address, here)
        said = {"csv": {"delimiter": ","}, "table": "", "model": "churn", "folder": here}
        assert new_source(address, **said).keys["kind"] == "csv"  # type: ignore[arg-type]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_source_is_refused(text: str, here: Path):
    (here / "data" / "notes.docx").touch()
    (here / "empty").mkdir()
    with pytest.raises(SourceError, match=REFUSED[text]):
        made(text, here)


def test_a_table_of_a_file_is_refused(here: Path):
    with pytest.raises(SourceError, match="--table goes with a database"):
        made("data/churn.csv", here, table="x")


def test_what_describes_csv_files_goes_into_the_spec_and_nowhere_else(here: Path):
    def described(text: str, **csv: str):
        folder = here / "models" / "churn"
        return new_source(text, table="", model="churn", folder=folder, csv=csv)

    found = described("data/churn.csv", encoding="cp1252", delimiter=";")
    assert found.keys["encoding"] == "cp1252"
    assert found.source.delimiter == ";"  # type: ignore[union-attr]
    with pytest.raises(SourceError, match="encoding describe CSV files, but the source is parquet"):
        described("churn.parquet", encoding="cp1252")


def test_a_delta_table_is_told_from_a_folder_of_parquet(here: Path):
    import deltalake

    deltalake.write_deltalake(here / "lake", churn(1).astype({"age": "float"}))
    assert made("lake", here).keys == {"kind": "delta", "path": "../../lake"}
