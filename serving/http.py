"""From one HTTP request to one answer, without a web framework.

`PredictionService.handle` is everything that the endpoint does; Ray Serve only brings it bytes.
Bad input never gives a 5xx answer, and no answer repeats the values that a client sent.
"""

import hmac
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, TooManyRowsError
from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter
from serving.bodies import BodyError, decode
from serving.models import LoadedModel, ModelSet, ModelState
from serving.openapi import document

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
PREFIX = "/v1/models/"
SUFFIX = "/predict"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response with a JSON body."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": JSON})


def refuse(status: int, where: str, message: str, **headers: str) -> Answer:
    """An error answer: the field at fault and what to do about it."""
    body = orjson.dumps({"error": {"field": where, "message": message}})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"content-type": JSON, **named})


class PredictionService:
    """Answers requests with the models of a ModelSet and logs each prediction.

    `token`, if not empty, must come as a bearer token on every path but /health.
    """

    def __init__(self, models: ModelSet, prediction_log: Path, token: str = "") -> None:
        self._models = models
        self._prediction_log = prediction_log
        self._token = f"Bearer {token}".encode() if token else b""
        self._writers: dict[str, SegmentWriter] = {}

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; `headers` has lower-case names (or ignores case)."""
        if path == "/health":
            return self._read_only(method, self._health)
        if self._token and not self._is_authorised(headers):
            return refuse(
                401,
                "authorization",
                "send the header Authorization: Bearer <token>",
                www_authenticate="Bearer",
            )
        if path.startswith(PREFIX) and path.endswith(SUFFIX):
            if method != "POST":
                return refuse(405, "method", "use POST", allow="POST")
            return self._predict(path[len(PREFIX) : -len(SUFFIX)], body)
        if path == "/openapi.json":
            return self._read_only(method, self._openapi)
        return refuse(404, "path", "try /health, /openapi.json or /v1/models/<model>/predict")

    def close(self) -> None:
        """Close the log segments."""
        for writer in self._writers.values():
            writer.close()

    def _is_authorised(self, headers: Mapping[str, str]) -> bool:
        sent = headers.get("authorization", "").encode("utf-8", "replace")
        return hmac.compare_digest(sent, self._token)

    def _read_only(self, method: str, answer: Any) -> Answer:
        if method not in ("GET", "HEAD"):
            return refuse(405, "method", "use GET", allow="GET")
        return Answer(200, orjson.dumps(answer()) if method == "GET" else b"")

    def _health(self) -> dict[str, Any]:
        states = self._models.models
        problems = [state.problem for state in states.values() if state.problem]
        reason = "; ".join(filter(None, [self._models.problem, *problems]))
        health: dict[str, Any] = {
            "status": "degraded" if reason else "ok",
            "models": {name: _health_of(state) for name, state in states.items()},
        }
        return {**health, "reason": reason} if reason else health

    def _openapi(self) -> dict[str, Any]:
        loaded = (state.loaded for state in self._models.models.values())
        return document([model.scorer.contract for model in loaded if model], bool(self._token))

    def _predict(self, name: str, raw: bytes) -> Answer:
        started = time.perf_counter()
        if len(raw) > MAX_BODY_BYTES:
            return body_too_large()
        state = self._models.models.get(name)
        if state is None:
            return refuse(404, "model", "no such model is released; see /health")
        if state.loaded is None:
            return refuse(503, "model", "the model is not loaded yet; see /health", retry_after="1")
        try:
            request = state.loaded.parser.parse(decode(raw))
            outputs = _score(state.loaded, request)
        except BodyError as error:
            return refuse(400, "body", str(error))
        except TooManyRowsError as error:
            return refuse(413, error.field, str(error))
        except RequestError as error:
            return refuse(422, error.field, str(error))
        ids = _prediction_ids(len(outputs))
        record = _record(state.loaded, request, outputs, ids, started)
        try:
            self._writer(name).append(record)
        except OSError:
            logger.exception("The prediction log of %s cannot be written", name)
            return refuse(503, "server", "the prediction cannot be logged", retry_after="5")
        return Answer(200, _response(state.loaded, record))

    def _writer(self, name: str) -> SegmentWriter:
        writer = self._writers.get(name)
        if writer is None:
            writer = self._writers[name] = SegmentWriter(self._prediction_log / name)
        return writer


def body_too_large() -> Answer:
    """The answer to a body above MAX_BODY_BYTES; the connection is not worth keeping."""
    message = f"the body is larger than {MAX_BODY_BYTES} bytes: split the request"
    return refuse(413, "body", message, connection="close")


def _health_of(state: ModelState) -> dict[str, Any]:
    target = state.loaded.target if state.loaded else state.target
    health: dict[str, Any] = {
        "loaded": state.loaded is not None,
        "version": target.version,
        "since": target.since,
        "released_at": target.released_at,
    }
    return {**health, "problem": state.problem} if state.problem else health


def _score(model: LoadedModel, request: ParsedRequest) -> np.ndarray:
    outputs = model.scorer.score(request.columns)
    if not np.isfinite(outputs).all():
        row = int(np.flatnonzero(~np.isfinite(outputs).all(axis=1))[0])
        raise RequestError("the model has no finite output for this record", f"records[{row}]")
    return outputs


def _prediction_ids(rows: int) -> list[str]:
    """Ids that are unique whatever the client sends: random per request, then the row's number."""
    stem = os.urandom(12).hex()
    return [f"{stem}-{row}" for row in range(rows)]


def _record(
    model: LoadedModel,
    request: ParsedRequest,
    outputs: np.ndarray,
    ids: list[str],
    started: float,
) -> LoggedRequest:
    return LoggedRequest(
        request_id=request.request_id or ids[0].removesuffix("-0"),
        at=datetime.now(UTC).isoformat(),
        version=model.target.version,
        variant="champion",
        latency_ms=round((time.perf_counter() - started) * 1000, 3),
        ids=ids,
        entities=request.entities,
        event_times=request.event_times,
        # orjson writes NaN as null.
        features={name: values.tolist() for name, values in request.columns.items()},
        outputs=outputs.tolist(),
    )


def _response(model: LoadedModel, record: LoggedRequest) -> bytes:
    contract = model.scorer.contract
    classes = contract.classes
    predictions: list[dict[str, Any]] = []
    for prediction_id, output in zip(record.ids, record.outputs, strict=True):
        if classes:
            # index() finds the first of equals: ties go to the lower class, here as everywhere.
            label = classes[output.index(max(output))]
            one: dict[str, Any] = {
                "prediction_id": prediction_id,
                "prediction": label,
                "probability": dict(zip(classes, output, strict=True)),
            }
        else:
            one = {"prediction_id": prediction_id, "prediction": output[0]}
        predictions.append(one)
    return orjson.dumps(
        {
            "model": contract.model,
            "version": record.version,
            "request_id": record.request_id,
            "predictions": predictions,
        }
    )
