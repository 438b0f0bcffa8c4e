"""From one HTTP request to one answer, without a web framework.

`PredictionService.handle` is everything that the endpoint does; Ray Serve only brings it bytes.
Bad input never gives a 5xx answer, and no answer repeats the values that a client sent.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import TooManyRowsError
from mlops_assets.stores.online import OnlineStore
from serving import native
from serving.answers import Answer, Refusal
from serving.auth import Tokens
from serving.bodies import BodyError
from serving.histories import Histories
from serving.loading import LoadedModel
from serving.models import ModelSet, ModelState, absent, not_loaded, only, versions_of
from serving.pages import OPEN_PATHS, Pages
from serving.predictor import Predictor
from serving.protocols.arrow import ARROW
from serving.protocols.routes import PARSE, Route, match
from serving.records import id_stem
from serving.repeats import Repeats
from serving.stats import Stats

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
PREFIX = "/v1/models/"
SUFFIX = "/predict"
# Shorter requests to a compiled model are answered at once, others by threads of their own, so
# that nobody's single record waits behind somebody's ten thousand. One thread for those of about
# a thousand rows and one for larger ones: two that score at once only take turns with the
# interpreter's lock, which made them a third slower than one. Where nobody has asked for a short
# request in QUIET_SECONDS, those of the first thread are answered at once, too, as long as they
# take a few milliseconds each: to hand them over costs a tenth of them.
QUICK_BYTES = 32 * 1024
BULK_BYTES = 512 * 1024
QUIET_SECONDS = 5.0
EXACT_THREADS = 32
MAX_WAITING = 200
REQUEST_SECONDS = 30.0
# An online store that is always away.
NOWHERE = "sqlite:////nowhere/history.db"


@dataclass(frozen=True, slots=True)
class Call:
    """One request for predictions; `started` is the clock of its latency."""

    model: str
    route: Route
    headers: Mapping[str, str]
    raw: bytes
    started: float

    @property
    def is_usual(self) -> bool:
        """Whether it speaks our own protocol, and wants to be answered in JSON."""
        return self.route.operation == "predict" and ARROW not in self.headers.get("accept", "")

    @property
    def form(self) -> bytes:
        """All that makes a repeated request the same: what is asked for, how, and the body."""
        about = (self.route.operation, self.route.version, self.headers.get("accept", ""))
        return b"%b\0%b" % ("\0".join(about).encode(), self.raw)


class PredictionService:
    """Answers requests with the models of a ModelSet and logs each prediction."""

    def __init__(
        self,
        models: ModelSet,
        prediction_log: Path,
        tokens: Tokens | None = None,
        stats: Stats | None = None,
        online: OnlineStore | None = None,
        models_dir: Path | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        self._models = models
        self._tokens = tokens or Tokens(None)
        self._stats = stats or Stats()
        self._predictor = Predictor(prediction_log, self._stats)
        self._histories = Histories(
            online or OnlineStore(NOWHERE), self._stats, models_dir=models_dir
        )
        self._pages = Pages(
            models, prediction_log, self._stats, self._histories, self._tokens.are_needed
        )
        self._repeats = repeats or Repeats()
        self._waiting = 0
        self._short_at = -QUIET_SECONDS
        self._bulk = ThreadPoolExecutor(1, "bulk")
        self._large = ThreadPoolExecutor(1, "large")
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
            return self.refused(path, busy)
        self._waiting += 1
        try:
            work = asyncio.get_running_loop().run_in_executor(
                pool, self.handle, method, path, headers, body
            )
            # Work that has not begun by then never does: nobody waits for it any more.
            return await asyncio.wait_for(work, REQUEST_SECONDS)
        except TimeoutError:
            late = Refusal(503, "server", "took too long: send fewer records", retry_after="1")
            return self.refused(path, late)
        finally:
            self._waiting -= 1

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; `headers` has lower-case names (or ignores case)."""
        try:
            return self._route(method, path, headers, body)
        except Refusal as error:
            refusal = error
        except BodyError as error:
            refusal = unreadable(headers, error)
        except TooManyRowsError as error:
            refusal = Refusal(413, error.field, str(error))
        except RequestError as error:
            refusal = Refusal(422, error.field, str(error))
        return self.refused(path, refusal)

    def close(self) -> None:
        """Finish what is under way and close the files."""
        self._bulk.shutdown()
        self._large.shutdown()
        self._exact.shutdown()
        self._predictor.close()
        self._repeats.close()

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.authorise(path, headers)
        if path.startswith(PREFIX) and path.endswith(SUFFIX):
            route = Route("predict", "POST", path[len(PREFIX) : -len(SUFFIX)])
        else:
            found = match(path)
            if found is None:
                return self._pages.answer(method, path)
            route = found
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            raise Refusal(405, "method", f"use {route.method}", allow=route.method)
        if route.operation in PARSE:
            return self._predict(route, headers, body)
        return self._pages.describe(route)

    def authorise(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises Refusal (401) for a request that needs a token and has none that is valid.

        Where none is needed, everyone on this machine may ask, but for the pages that someone's
        browser shows: from anywhere, they could write into the prediction log. Refusal (403).
        """
        if path in OPEN_PATHS:
            return
        if not self._tokens.are_needed:
            if "origin" in headers:
                message = "web pages may ask only where a token is needed: MLOPS_SERVE_TOKEN_FILE"
                raise Refusal(403, "origin", message)
            return
        if not self._tokens.admit(headers.get("authorization", "")):
            raise Refusal(
                401,
                "authorization",
                "send the header Authorization: Bearer <token>",
                www_authenticate="Bearer",
            )

    def refused(self, path: str, refusal: Refusal) -> Answer:
        """The answer of a refusal, which is counted."""
        self._stats.refused(self._model_of(path), refusal.status)
        return refusal.answer(open_inference=path.startswith("/v2"))

    def _model_of(self, path: str) -> str:
        """The model that a path names, if it is one of ours: clients must not invent labels."""
        if path.startswith(PREFIX):
            name = path[len(PREFIX) :].partition("/")[0]
        else:
            route = match(path)
            name = self._name(route) if route else ""
        return name if name in self._models.models else ""

    def _name(self, route: Route) -> str:
        """The model of a route; the only one served where the path names none."""
        served = self._models.models
        return route.model or (next(iter(served)) if len(served) == 1 else "")

    def _pool(self, path: str, body: bytes) -> ThreadPoolExecutor | None:
        """The threads that should answer, or None where the answer takes no time."""
        if path == "/metrics":
            return self._bulk
        if path == "/health" and self._histories.is_remote:
            return self._exact
        state = self._models.models.get(self._model_of(path))
        if state is None or state.loaded is None:
            return None
        if state.loaded.onnx is None or (
            state.loaded.contract.history and self._histories.is_remote
        ):
            return self._exact
        if len(body) <= QUICK_BYTES:
            self._short_at = time.monotonic()
            return None
        if len(body) > BULK_BYTES:
            return self._large
        return None if path.endswith(SUFFIX) and self._is_alone(state) else self._bulk

    def _is_alone(self, state: ModelState) -> bool:
        """Whether a request of some thousand rows takes a moment, and keeps nobody waiting."""
        onnx = state.loaded.onnx if state.loaded else None
        # Inputs that are looked up take a query for each key.
        is_fast = onnx is not None and onnx.bulk is not None and not onnx.contract.history
        is_quiet = time.monotonic() - self._short_at >= QUIET_SECONDS
        return is_fast and is_quiet and not state.weights and not self._waiting

    def _predict(self, route: Route, headers: Mapping[str, str], raw: bytes) -> Answer:
        call = Call(self._name(route), route, headers, raw, time.perf_counter())
        if len(raw) > MAX_BODY_BYTES:
            raise body_too_large()
        state, loaded = self._served(call.model, route.version)
        # The same for both ways, because it may decide which variant answers.
        stem = ""
        one = loaded.reader.read(raw) if loaded.reader and call.is_usual else None
        if one is not None:
            before = self._repeated(call, one.request_id)
            if before is not None:
                return before
            stem = id_stem(call.model, one.request_id)
            quick = self._predictor.record(call.model, state, one, stem, call.started)
            if quick is not None:
                return self._answered(call, one.request_id, native.render(quick))
        asked = PARSE[route.operation](loaded.parsers, raw, headers)
        request_id = asked.request.request_id
        before = self._repeated(call, request_id)
        if before is not None:
            return before
        stem = stem or id_stem(call.model, request_id)
        request = self._histories.complete(loaded.contract, asked.request)
        predicted = self._predictor.rows(call.model, state, request, stem, call.started)
        return self._answered(call, request_id, asked.answer(predicted))

    def _served(self, name: str, version: str) -> tuple[ModelState, LoadedModel]:
        """What answers for a model, or for the version of it that was asked for."""
        state = self._models.models.get(name)
        if state is None:
            # Released a moment ago: another replica may have told the client already, and this one
            # may be about to read it.
            self._models.refresh()
            state = self._models.models.get(name)
        if state is None:
            raise absent(self._models, name)
        if state.loaded is None:
            raise not_loaded()
        if not version:
            return state, state.loaded
        for one in versions_of(state):
            if one.version == version:
                return only(state, one), one
        raise Refusal(404, "version", "no such version is loaded; leave it out for the champion")

    def _repeated(self, call: Call, request_id: str) -> Answer | None:
        return self._repeats.find(call.model, request_id, call.form) if request_id else None

    def _answered(self, call: Call, request_id: str, answer: Answer) -> Answer:
        if request_id:
            self._repeats.remember(call.model, request_id, call.form, answer)
        return answer


def unreadable(headers: Mapping[str, str], error: BodyError) -> Refusal:
    """The refusal of a body that cannot be read, which is often a compressed one."""
    if headers.get("content-encoding", "identity").strip().lower() in ("", "identity"):
        return Refusal(400, "body", str(error))
    message = "send the body as it is: compressed ones are not read"
    return Refusal(415, "content-encoding", message, accept_encoding="identity")


def body_too_large() -> Refusal:
    """The refusal of a body above MAX_BODY_BYTES; the connection is not worth keeping."""
    message = f"the body is larger than {MAX_BODY_BYTES} bytes: split the request"
    return Refusal(413, "body", message, connection="close")
