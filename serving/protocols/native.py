"""Our own protocol: records, or columns, in JSON; or columns in Arrow, with an answer in Arrow."""

from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, clip
from serving import native
from serving.answers import Refusal
from serving.protocols import arrow
from serving.protocols.exchange import Asked, Headers, Parsers, media_type
from serving.protocols.strict_json import decode_strictly

JSON = "application/json"
# What is surely meant as something else. Other types are not looked at: many clients name none, or
# that of forms.
_OTHERS = ("application/vnd.apache.", "application/x-parquet", "text/csv", "multipart/")


def parse(parsers: Parsers, body: bytes, headers: Headers) -> Asked:
    """Read `{"records": [...]}`, `{"columns": {...}}` or an Arrow stream, by content type.

    The answer is in the format of the request, unless the Accept header names the other one.
    Refusal (415) for a type that is neither.
    """
    kind = media_type(headers)
    is_arrow = kind == arrow.ARROW
    if kind.startswith(_OTHERS) and not is_arrow:
        raise Refusal(415, "content-type", f"send {JSON} or {arrow.ARROW}")
    request = arrow.read(parsers, body, headers) if is_arrow else _json(parsers, body)
    accepted = headers.get("accept", "")
    wants_arrow = arrow.ARROW in accepted or (is_arrow and JSON not in accepted)
    return Asked(request, arrow.render if wants_arrow else native.render)


def _json(parsers: Parsers, body: bytes) -> ParsedRequest:
    bulk = parsers.bulk.read(body)
    if bulk is not None:
        return bulk
    decoded = decode_strictly(body)
    if not isinstance(decoded, dict) or "columns" not in decoded:
        return parsers.by_record.parse(decoded)
    for name in decoded:
        if name not in ("request_id", "columns"):
            raise RequestError(
                "is not part of a request by column; send request_id (optional) and columns",
                f"body.{clip(name)}",
            )
    columns = decoded["columns"]
    if not isinstance(columns, dict):
        raise RequestError("must be an object with a list for each column", "columns")
    return parsers.by_column.parse(columns, decoded.get("request_id"), "columns.")
