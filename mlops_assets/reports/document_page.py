"""A document as one HTML page: no scripts, nothing from outside, pictures within."""

import html
from collections.abc import Mapping

from mlops_assets.domain.document import Block, Bullets, Document, Paragraph, Picture, Section
from mlops_assets.reports.canvas import data_uri

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.55 system-ui, sans-serif; color: #222; background: #f6f7f8; margin: 0; }
main { max-width: 940px; margin: 0 auto; padding: 28px 24px 56px; }
h1 { font-size: 25px; margin: 0 0 18px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 34px 0 10px; }
p, li { overflow-wrap: anywhere; }
ul { padding-left: 22px; }
li { margin: 3px 0; }
section:first-of-type { background: white; border: 1px solid #e0e3e7; border-radius: 8px;
  padding: 2px 20px 8px; }
section:first-of-type h2 { margin-top: 14px; }
.scroll { overflow-x: auto; background: white; border: 1px solid #e0e3e7; border-radius: 8px;
  margin: 10px 0; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px;
  border-bottom: 1px solid #eceef0; overflow-wrap: break-word; }
th { background: #fafbfc; }
tr:last-child td { border-bottom: 0; }
td:first-child { min-width: 110px; }
img { display: block; max-width: 100%; height: auto; background: white;
  border: 1px solid #e0e3e7; border-radius: 8px; margin: 12px 0; }
@media print { body { background: white; } main { max-width: none; padding: 0; }
  table, img { break-inside: avoid; } }
"""


def document_page(document: Document, pictures: Mapping[str, bytes]) -> str:
    """The page; `pictures` are PNG by name, and one that is not there is left out."""
    title = html.escape(document.title)
    sections = "".join(_section(section, pictures) for section in document.sections)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{title}</h1>{sections}</main></body></html>"
    )


def _section(section: Section, pictures: Mapping[str, bytes]) -> str:
    blocks = "".join(_block(block, pictures) for block in section.blocks)
    return f"<section><h2>{html.escape(section.title)}</h2>{blocks}</section>"


def _block(block: Block, pictures: Mapping[str, bytes]) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Bullets):
        items = "".join(f"<li>{html.escape(item)}</li>" for item in block.items)
        return f"<ul>{items}</ul>"
    if isinstance(block, Picture):
        png = pictures.get(block.name)
        alt = html.escape(block.alt)
        return f'<img alt="{alt}" src="{data_uri(png)}">' if png else ""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.head)
    top = f"<thead><tr>{head}</tr></thead>" if any(block.head) else ""
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in block.rows
    )
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'
