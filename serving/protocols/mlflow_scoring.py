"""MLflow's scoring protocol, as `mlflow models serve` speaks it to its clients.

What it wants is MLflow's, what a value must be is ours: nothing is coerced or dropped. Missing
values are null, or NaN as pandas writes them to JSON, or an empty cell of CSV. The answer holds the
class of each row (or its value), as `predict` of a pyfunc does; with
`"params": {"predict_method": "predict_proba"}` its probabilities in the order of the classes.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, TooManyRowsError, clip
from mlops_assets.domain.values import kind_of
from serving.answers import Answer, Refusal
from serving.predicted import Predicted
from serving.protocols.csv_columns import read_csv
from serving.protocols.exchange import (
    Asked,
    Headers,
    Parsers,
    idempotency_key,
    labels,
    media_type,
    repeated,
)
from serving.protocols.strict_json import decode_strictly, without_nan

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
METHODS = ("predict", "predict_proba")
CSV, JSON = "text/csv", "application/json"


def parse(parsers: Parsers, body: bytes, headers: Headers) -> Asked:
    """Read a body by its content type; Refusal (415) for one that is neither JSON nor CSV."""
    kind = _content_type(headers)
    key = idempotency_key(headers)
    if kind == CSV:
        columns = read_csv(body, parsers.contract)
        return Asked(parsers.by_column.parse(columns, key, "csv."), render)
    decoded = decode_strictly(without_nan(body))
    if not isinstance(decoded, dict):
        raise RequestError(f"must be an object, not {kind_of(decoded)}", "body")
    for name in decoded:
        if name not in FORMS and name != "params":
            raise RequestError(f"is not part of a request; send {_one_of()}", f"body.{clip(name)}")
    forms = [name for name in FORMS if name in decoded]
    if len(forms) != 1:
        raise RequestError(f"must have exactly {_one_of()}", "body")
    wants_probabilities = _method(decoded.get("params"), parsers) == "predict_proba"
    request = _read(parsers, forms[0], decoded[forms[0]], key)
    return Asked(request, render_probabilities if wants_probabilities else render)


def render(predicted: Predicted) -> Answer:
    """The class of each row, or its value."""
    return _answer(predicted, labels(predicted))


def render_probabilities(predicted: Predicted) -> Answer:
    """The probabilities of each row, in the order of the contract's classes."""
    return _answer(predicted, predicted.lists)


def _answer(predicted: Predicted, values: list[Any]) -> Answer:
    # The protocol has no place for who answered, and clients read only what they know.
    answered = dict.fromkeys(predicted.rows or [(predicted.version, predicted.variant)])
    versions, variants = zip(*answered, strict=True)
    about = {
        "content-type": JSON,
        "x-model-version": ", ".join(dict.fromkeys(versions)),
        "x-model-variant": ", ".join(dict.fromkeys(variants)),
        "x-prediction-id": predicted.stem,
    }
    return Answer(200, orjson.dumps({"predictions": values}), about)


def _content_type(headers: Headers) -> str:
    kind = media_type(headers)
    charset = headers.get("content-type", "").lower().partition("charset=")[2].strip(' "')
    if kind not in (CSV, JSON, "") or charset not in ("", "utf-8"):
        raise Refusal(415, "content-type", f"send {JSON} or {CSV}, in UTF-8")
    return kind


def _one_of() -> str:
    return f"one of {', '.join(FORMS)}"


def _method(params: Any, parsers: Parsers) -> str:
    """Which method of the model the client wants the outputs of."""
    if params is None:
        return "predict"
    if not isinstance(params, dict):
        raise RequestError(f"must be an object, not {kind_of(params)}", "params")
    for name in params:
        if name != "predict_method":
            raise RequestError("is not known; there is predict_method", f"params.{clip(name)}")
    method = params.get("predict_method", "predict")
    known = METHODS if parsers.contract.classes else METHODS[:1]
    if method not in known:
        raise RequestError(f"must be one of {', '.join(known)}", "params.predict_method")
    return str(method)


def _read(parsers: Parsers, form: str, data: Any, key: str | None) -> ParsedRequest:
    if form == "dataframe_split":
        return parsers.by_column.parse(_split(data, parsers.contract.max_rows), key, f"{form}.")
    if form != "dataframe_records" and isinstance(data, dict):
        if data and not any(isinstance(values, list) for values in data.values()):
            data = [data]
        else:
            return parsers.by_column.parse(data, key, f"{form}.")
    if isinstance(data, list) and data and not isinstance(data[0], dict):
        raise RequestError(
            "must name its columns: send records, or an object with a list for each column", form
        )
    try:
        return parsers.by_record.parse({"records": data, "request_id": key})
    except RequestError as error:
        field = error.field
        if field.startswith("records"):
            field = form + field.removeprefix("records")
        raise type(error)(str(error), field) from None


def _split(data: Any, max_rows: int) -> Mapping[str, Any]:
    """The columns of a DataFrame in pandas' orientation `split`; its index means nothing here."""
    if not isinstance(data, dict):
        raise RequestError(f"must be an object, not {kind_of(data)}", "dataframe_split")
    for name in data:
        if name not in ("columns", "data", "index"):
            raise RequestError("is not part of it", f"dataframe_split.{clip(name)}")
    names, rows = data.get("columns"), data.get("data")
    if not isinstance(names, list) or not all(type(name) is str for name in names):
        raise RequestError("must be a list of names", "dataframe_split.columns")
    twice = repeated(names)
    if twice is not None:
        raise RequestError("occurs twice", f"dataframe_split.columns.{clip(twice)}")
    if not isinstance(rows, list) or not rows:
        raise RequestError("must be a list with at least one row", "dataframe_split.data")
    if len(rows) > max_rows:
        raise TooManyRowsError(
            f"has {len(rows)} rows, the limit is {max_rows}: split the request",
            "dataframe_split.data",
        )
    for index, row in enumerate(rows):
        if type(row) is not list or len(row) != len(names):
            raise RequestError(
                f"must be a list of {len(names)} values", f"dataframe_split.data[{index}]"
            )
    return dict(zip(names, zip(*rows, strict=True), strict=True))
