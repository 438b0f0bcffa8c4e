"""From one HTTP request to one answer, without a web framework.

`PredictionService.handle` is everything that the endpoint does; Ray Serve only brings it bytes.
Bad input never gives a 5xx answer, and no answer repeats the values that a client sent.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import TooManyRowsError
from serving import docs, native
from serving.answers import Answer, Refusal
from serving.auth import Tokens
from serving.bodies import BodyError, decode
from serving.exposition import CONTENT_TYPE as METRICS
from serving.exposition import exposition
from serving.models import ModelSet, ModelState
from serving.openapi import document
from serving.predictor import Predictor, id_stem
from serving.repeats import Repeats
from serving.stats import Stats

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
PREFIX = "/v1/models/"
SUFFIX = "/predict"
# Shorter requests to a compiled model are answered at once, others by threads of their own, so
# that nobody's single record waits behind somebody's ten thousand.
QUICK_BYTES = 32 * 1024
BULK_THREADS = 2
EXACT_THREADS = 32
MAX_WAITING = 200
REQUEST_SECONDS = 30.0


class PredictionService:
    """Answers requests with the models of a ModelSet and logs each prediction."""

    def __init__(
        self,
        models: ModelSet,
        prediction_log: Path,
        tokens: Tokens | None = None,
        stats: Stats | None = None,
    ) -> None:
        self._models = models
        self._tokens = tokens or Tokens(None)
        self._stats = stats or Stats()
        self._log = prediction_log
        self._predictor = Predictor(prediction_log, self._stats)
        self._repeats = Repeats()
        self._waiting = 0
        self._bulk = ThreadPoolExecutor(BULK_THREADS, "bulk")
        self._exact = ThreadPoolExecutor(EXACT_THREADS, "exact")

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Answer one request without blocking the event loop for long."""
        pool = self._pool(path, body)
        if pool is None:
            return self.handle(method, path, headers, body)
        if self._waiting >= MAX_WAITING:
            busy = Refusal(503, "server", "too many requests wait: try again", retry_after="1")
            return self._refused(path, busy)
        self._waiting += 1
        try:
            work = asyncio.get_running_loop().run_in_executor(
                pool, self.handle, method, path, headers, body
            )
            return await asyncio.wait_for(asyncio.shield(work), REQUEST_SECONDS)
        except TimeoutError:
            late = Refusal(503, "server", "took too long: send fewer records", retry_after="1")
            return self._refused(path, late)
        finally:
            self._waiting -= 1

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; `headers` has lower-case names (or ignores case)."""
        try:
            return self._route(method, path, headers, body)
        except Refusal as error:
            refusal = error
        except BodyError as error:
            refusal = Refusal(400, "body", str(error))
        except TooManyRowsError as error:
            refusal = Refusal(413, error.field, str(error))
        except RequestError as error:
            refusal = Refusal(422, error.field, str(error))
        return self._refused(path, refusal)

    def close(self) -> None:
        """Finish what is under way and close the log segments."""
        self._bulk.shutdown()
        self._exact.shutdown()
        self._predictor.close()

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if path == "/health":
            return self._read_only(method, self._health)
        if self._tokens.are_needed and not self._tokens.admit(headers.get("authorization", "")):
            raise Refusal(
                401,
                "authorization",
                "send the header Authorization: Bearer <token>",
                www_authenticate="Bearer",
            )
        if path.startswith(PREFIX) and path.endswith(SUFFIX):
            if method != "POST":
                raise Refusal(405, "method", "use POST", allow="POST")
            return self._predict(path[len(PREFIX) : -len(SUFFIX)], body)
        if path == "/openapi.json":
            return self._read_only(method, self._openapi)
        if path == "/docs":
            headers = {"content-type": docs.CONTENT_TYPE, "content-security-policy": docs.POLICY}
            return Answer(200, docs.page(self._openapi()), headers)
        if path == "/metrics":
            page = exposition(self._stats.everywhere(), self._models.models, self._log)
            return Answer(200, page, {"content-type": METRICS})
        raise Refusal(
            404, "path", "try /docs, /health, /metrics, or POST to /v1/models/<model>/predict"
        )

    def _refused(self, path: str, refusal: Refusal) -> Answer:
        self._stats.refused(self._model_of(path), refusal.status)
        return refusal.answer()

    def _model_of(self, path: str) -> str:
        """The model that a path names, if it is one of ours: clients must not invent labels."""
        if not path.startswith(PREFIX):
            return ""
        name = path[len(PREFIX) :].partition("/")[0]
        return name if name in self._models.models else ""

    def _pool(self, path: str, body: bytes) -> ThreadPoolExecutor | None:
        """The threads that should answer, or None where the answer takes no time."""
        if path == "/metrics":
            return self._bulk
        state = self._models.models.get(self._model_of(path))
        if state is None or state.loaded is None:
            return None
        if state.loaded.onnx is None:
            return self._exact
        return self._bulk if len(body) > QUICK_BYTES else None

    def _read_only(self, method: str, answer: Callable[[], Any]) -> Answer:
        if method not in ("GET", "HEAD"):
            raise Refusal(405, "method", "use GET", allow="GET")
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
        return document(
            [model.scorer.contract for model in loaded if model], self._tokens.are_needed
        )

    def _predict(self, name: str, raw: bytes) -> Answer:
        started = time.perf_counter()
        if len(raw) > MAX_BODY_BYTES:
            raise body_too_large()
        state = self._models.models.get(name)
        if state is None:
            raise Refusal(404, "model", "no such model is released; see /health")
        if state.loaded is None:
            raise Refusal(503, "model", "the model is not loaded yet; see /health", retry_after="1")
        stem = ""
        one = state.loaded.reader.read(raw) if state.loaded.reader else None
        if one is not None:
            before = self._repeated(name, one.request_id, raw)
            if before is not None:
                return before
            stem = id_stem(name, one.request_id)
            quick = self._predictor.record(name, state, one, stem, started)
            if quick is not None:
                return self._answered(name, one.request_id, raw, native.render(quick))
        request = state.loaded.parser.parse(decode(raw))
        before = self._repeated(name, request.request_id, raw)
        if before is not None:
            return before
        stem = stem or id_stem(name, request.request_id)
        predicted = self._predictor.rows(name, state, request, stem, started)
        return self._answered(name, request.request_id, raw, native.render(predicted))

    def _repeated(self, name: str, request_id: str, raw: bytes) -> Answer | None:
        return self._repeats.find(name, request_id, raw) if request_id else None

    def _answered(self, name: str, request_id: str, raw: bytes, answer: Answer) -> Answer:
        if request_id:
            self._repeats.remember(name, request_id, raw, answer)
        return answer


def body_too_large() -> Refusal:
    """The refusal of a body above MAX_BODY_BYTES; the connection is not worth keeping."""
    message = f"the body is larger than {MAX_BODY_BYTES} bytes: split the request"
    return Refusal(413, "body", message, connection="close")


def _health_of(state: ModelState) -> dict[str, Any]:
    version = state.loaded.version if state.loaded else state.target.version
    health: dict[str, Any] = {
        "loaded": state.loaded is not None,
        "version": version,
        "since": state.target.since,
        "released_at": state.target.released_at,
    }
    if state.weights:
        health["split"] = {
            variant: {"version": state.variants[variant].version, "percent": percent}
            for variant, percent in state.weights
        }
    for name, one in (("shadow", state.shadow), ("fallback", state.fallback)):
        if one is not None:
            health[name] = one.version
    return {**health, "problem": state.problem} if state.problem else health
