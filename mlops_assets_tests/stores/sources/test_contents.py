"""What a server sends in place of a table, and tables that look like something else."""

import gzip
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.domain.errors import SourceError
from mlops_assets.stores.sources.copies import copy_of
from mlops_assets.stores.sources.web import WebFile
from mlops_assets_tests.site import Site, says
from mlops_assets_tests.stores.sources.samples import parquet, rows
from mlops_assets_tests.waiting import PATIENCE


def content(address: str) -> bytes:
    return copy_of(WebFile(address, timedelta(seconds=PATIENCE))).path.read_bytes()


NO_TABLES = {
    "a web page": (b"\n <!DOCTYPE html><title>Sign in</title>", "text/html"),
    "a web page ": (b"<div>list</div>", "text/html"),
    "a web page  ": (b'<?xml version="1.0"?><Error/>', "application/xml"),
    "a ZIP archive": (b"PK\x03\x04rest", "application/zip"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "text/plain"),
}


@pytest.mark.parametrize("what", NO_TABLES)
def test_what_came_back_is_named(what: str, site: Site):
    body, kind = NO_TABLES[what]
    address = site.trick("rows.csv", says(200, body, Content_Type=kind))
    with pytest.raises(SourceError, match=rf"is {what.strip()}.*\(sent as {kind}\)"):
        content(address)


def test_a_table_whose_names_stand_in_brackets_is_no_page(site: Site):
    text = b"<TICKER>,<DATE>\nX,2024-01-01\n"
    assert content(site.write("rows.csv", text)) == text


def test_a_login_page_that_one_is_led_to_is_named_without_its_query(site: Site):
    site.trick("login?key=s3cret", says(200, b"<html>", Content_Type="text/html"))
    address = site.trick("rows.csv", says(302, Location="/login?key=s3cret"))
    with pytest.raises(SourceError, match=r"/login answers, is a web page") as found:
        content(address)
    assert "s3cret" not in str(found.value)


def test_a_compression_of_the_transfer_is_undone(site: Site, tmp_path: Path):
    local = parquet(tmp_path)
    body = (tmp_path / "rows.parquet").read_bytes()
    sent = says(200, gzip.compress(body), Content_Encoding="gzip")
    remote = local.model_copy(update={"path": site.trick("rows.parquet", sent)})
    assert rows(remote, tmp_path).equals(rows(local, tmp_path))
    with pytest.raises(SourceError, match="content encoding 'br'"):
        content(site.trick("other.csv", says(200, b"x", Content_Encoding="br")))
