"""A page of plain text, lists, tables and pictures, and its form as Markdown.

All text may come from users and from data. It is plain everywhere: whoever renders a document
makes it inert in its own form, so that a category value that looks like markup is shown as it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# What could begin an element inside of a line; one underscore within a word begins none.
_INLINE = re.compile(r"[\\`*\[\]|~!]|(?<![^\W_])_|_(?![^\W_])")
# What could make a block of a line: headings, lists, quotes, rules.
_BLOCK = re.compile(r"^(#+|[-+]|\d+[.)])(?=\s|$)|^(=+$|---)")
_ADDRESS = re.compile(r"(://|@|(?i:www)\.)")


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list without order."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; every row has as many cells as the head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A picture by its name; its tables say the same, so Markdown goes without."""

    name: str
    alt: str


Block = Paragraph | Bullets | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole page."""

    title: str
    sections: tuple[Section, ...]


def facts_table(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and values; what has no value is left out."""
    return Table(("", ""), tuple((name, value) for name, value in rows if value))


def markdown(document: Document) -> str:
    """GitHub's Markdown, without raw HTML, links or pictures, whatever the texts are."""
    parts = [f"# {_plain(document.title)}"]
    for section in document.sections:
        parts.append(f"## {_plain(section.title)}")
        parts += [text for block in section.blocks if (text := _block(block))]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _plain(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_plain(item)}" for item in block.items)
    if isinstance(block, Table):
        return "\n".join(
            _row(cells) for cells in (block.head, ("---",) * len(block.head))
        ) + "".join(f"\n{_row(tuple(map(_plain, cells)))}" for cells in block.rows)
    return ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """One line in which nothing is markup."""
    line = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    line = _INLINE.sub(r"\\\g<0>", line)
    # Entities, because not every renderer takes a backslash before these.
    line = re.sub(r"&(?=#?\w+;)", "&amp;", line).replace("<", "&lt;").replace(">", "&gt;")
    # An address would become a link by itself.
    line = _ADDRESS.sub(lambda found: _entities(found[0]), line)
    return _BLOCK.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", line)


def _entities(text: str) -> str:
    return "".join(c if c.isalpha() else f"&#{ord(c)};" for c in text)
