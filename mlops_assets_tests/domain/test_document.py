import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlops_assets.domain.document import (
    Bullets,
    Document,
    Paragraph,
    Picture,
    Section,
    Table,
    facts_table,
    markdown,
)

HOSTILE = (
    "</td><script>alert(1)</script>![x](javascript:alert(2)) | `a` **b** <img src=x> http://e.vil"
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="<>&[]()!|`*_#-+=~\\ 1.)a:/@w\n", max_size=30),
)
INERT = {"text", "text_special", "softbreak"}


def parsed(text: str) -> list[str]:
    """Types of everything that a parser of GitHub's Markdown finds in lines."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    return [child.type for token in tokens for child in token.children or ()]


def cells(text: str) -> list[str]:
    """What a reader sees in each line, cell and item."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    return ["".join(c.content for c in t.children or ()) for t in tokens if t.type == "inline"]


def seen(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def test_a_document_is_headed_listed_and_tabulated():
    document = Document(
        "Title",
        (
            Section("First", (Paragraph("Text."), Bullets(("one", "two")))),
            Section("Second", (Table(("a", "b"), (("1", "2"),)), Picture("p", "a picture"))),
        ),
    )
    assert markdown(document) == (
        "# Title\n\n## First\n\nText.\n\n- one\n- two\n\n## Second\n\n"
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    )


@example(HOSTILE)
@example("1. first")
@example("---")
@example("__0__")
@given(TEXTS)
def test_no_text_becomes_markup_and_every_text_is_shown_as_it_is(text: str):
    shown = seen(text)
    document = Document(
        "t", (Section("s", (Paragraph(f"a {text}"), Table(("h",), ((text,),)), Bullets((text,)))),)
    )
    made = markdown(document)
    assert set(parsed(made)) <= INERT
    assert not re.search(r"<[a-zA-Z/!?]", made)
    found = cells(made)
    assert shown in found or not shown
    assert seen(f"a {text}") in found


def test_addresses_do_not_become_links():
    made = markdown(Document("t", (Section("s", (Paragraph("see http://e.vil or www.e.vil"),)),)))
    assert "://" not in made
    assert "www." not in made
    assert "see http://e.vil or www.e.vil" in cells(made)


def test_facts_without_a_value_are_left_out():
    assert facts_table([("a", "1"), ("b", "")]).rows == (("a", "1"),)
