from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.document import Bullets, Document, Paragraph, Picture, Section, Table
from mlops_assets.reports.canvas import blank, png
from mlops_assets.reports.document_page import document_page

HOSTILE = '</td></title><script>alert(1)</script><img src=x onerror=alert(2)>" onload="alert(3)'
BLOCKS = (
    Paragraph(HOSTILE),
    Bullets((HOSTILE,)),
    Table((HOSTILE, "b"), ((HOSTILE, "2"),)),
    Picture("p", HOSTILE),
    Picture("absent", "not there"),
)
DOCUMENT = Document(HOSTILE, (Section(HOSTILE, BLOCKS),))


def test_a_page_is_inert_whatever_it_is_told():
    page = document_page(DOCUMENT, {"p": png(blank("t")[0])})
    assert "<script" not in page
    assert "<img src=x" not in page
    assert '" onload="' not in page
    assert "default-src 'none'" in page
    assert page.count("<img ") == 1
    assert page.count("&lt;script&gt;") == 8


def test_a_table_of_facts_has_no_head():
    facts = Document("t", (Section("s", (Table(("", ""), (("a", "1"),)),)),))
    assert "<thead>" not in document_page(facts, {})
    assert "<td>a</td><td>1</td>" in document_page(facts, {})


@pytest.mark.browser
def test_a_browser_shows_the_page_and_runs_nothing(browser_page: Any, tmp_path: Path):
    path = tmp_path / "card.html"
    path.write_text(document_page(DOCUMENT, {"p": png(blank("t")[0])}))
    dialogs, requests = [], []
    browser_page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    browser_page.on("request", lambda request: requests.append(request.url[:30]))
    browser_page.goto(path.as_uri())
    assert browser_page.evaluate("document.querySelector('img').naturalWidth") > 500
    for element in ("h1", "h2", "p", "li", "th", "td"):
        assert browser_page.locator(element).first.inner_text() == HOSTILE
    assert dialogs == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
