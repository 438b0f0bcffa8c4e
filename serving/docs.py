"""GET /docs: the OpenAPI document as a page that needs no script and no network."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

CONTENT_TYPE = "text/html; charset=utf-8"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-top: 1px solid #ddd; padding-top: 1rem; font-size: 1.1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9rem; }
pre { background: #f5f5f2; padding: .75rem; overflow-x: auto; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem 1rem .15rem 0; }
b { display: inline-block; min-width: 3.5rem; }
"""


def page(document: Mapping[str, Any]) -> bytes:
    """The whole page."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{escape(document['info']['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(document['info']['title'])}</h1>",
        "<p>The same as <a href='openapi.json'>openapi.json</a>, for people.</p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method != "parameters":
                parts += _operation(path, method, operation)
    return "".join([*parts, "</body></html>"]).encode()


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> list[str]:
    parts = [
        f"<h2><b>{escape(method.upper())}</b> <code>{escape(path)}</code></h2>",
        f"<p>{escape(operation.get('summary', ''))}</p>",
    ]
    contents = operation.get("requestBody", {}).get("content", {})
    for kind, content in contents.items():
        schema = content.get("schema")
        if schema:
            parts.append(f"<p>Body, <code>{escape(kind)}</code>:</p>")
            parts.append(f"<pre>{escape(json.dumps(schema, indent=1, ensure_ascii=False))}</pre>")
    rows = "".join(
        f"<tr><th>{escape(status)}</th><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return [*parts, f"<table>{rows}</table>"]
