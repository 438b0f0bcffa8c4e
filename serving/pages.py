"""What the endpoint tells about itself: health, versions, metrics, documents."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from serving import docs
from serving.answers import Answer, Refusal
from serving.exposition import CONTENT_TYPE as METRICS
from serving.exposition import exposition
from serving.histories import Histories
from serving.loading import LoadedModel
from serving.models import ModelSet, ModelState, absent, not_loaded, versions_of
from serving.openapi import document
from serving.protocols import open_inference_metadata as metadata
from serving.protocols.routes import Route
from serving.stats import Stats

# Probes come without a token, and learn nothing but whether all is well.
OPEN_PATHS = frozenset({"/health", "/ping", "/v2/health/live", "/v2/health/ready"})
VERSION = "1"


class Pages:
    """Answers every request that asks for no prediction."""

    def __init__(
        self,
        models: ModelSet,
        log: Path,
        stats: Stats,
        histories: Histories,
        needs_token: bool,
    ) -> None:
        self._models = models
        self._log = log
        self._stats = stats
        self._histories = histories
        self._needs_token = needs_token
        self._pages: Mapping[str, Callable[[], Answer]] = {
            "/health": lambda: _json(self._health()),
            "/openapi.json": lambda: _json(self._openapi()),
            "/docs": self._docs,
            "/metrics": self._metrics,
        }

    def answer(self, method: str, path: str) -> Answer:
        """One of our own pages. Raises Refusal for any other path, and for methods that write."""
        page = self._pages.get(path)
        if page is None:
            raise Refusal(404, "path", "there is nothing here: /docs tells what there is")
        if method not in ("GET", "HEAD"):
            raise Refusal(405, "method", "use GET", allow="GET")
        return page()

    def describe(self, route: Route) -> Answer:
        """What the other protocols ask about server and models."""
        operation = route.operation
        if operation == "ping":
            return Answer(200 if self._is_ready() else 503, b"\n", {"content-type": "text/plain"})
        if operation == "version":
            return Answer(200, VERSION.encode(), {"content-type": "text/plain"})
        if operation == "v2_server":
            return _json(metadata.server(VERSION))
        if operation == "v2_live":
            return _json({"live": True})
        if operation == "v2_ready":
            return _json({"ready": self._is_ready()}, 200 if self._is_ready() else 503)
        return self._model(route)

    def _model(self, route: Route) -> Answer:
        state = self._models.models.get(route.model)
        if state is None:
            raise absent(self._models, route.model)
        found = versions_of(state)
        one = _of_version(state, route.version)
        if one is None and route.version:
            raise Refusal(404, "version", "no such version is loaded; see /health")
        if route.operation == "v2_model_ready":
            return _json({"name": route.model, "ready": one is not None}, 200 if one else 503)
        if one is None:
            raise not_loaded()
        versions = sorted({each.version for each in found}, key=lambda v: (len(v), v))
        return _json(metadata.model(one.contract, versions))

    def _is_ready(self) -> bool:
        return all(state.loaded is not None for state in self._models.models.values())

    def _health(self) -> dict[str, Any]:
        states = self._models.models
        found = {name: self._health_of(state) for name, state in states.items()}
        problems = [state.problem for state in states.values() if state.problem]
        problems += [
            f"{name}: {model['history']['problem']}"
            for name, model in found.items()
            if "problem" in model.get("history", {})
        ]
        reason = "; ".join(filter(None, [self._models.problem, *problems]))
        health: dict[str, Any] = {
            "status": "degraded" if reason else "ok",
            "models": found,
        }
        if self._models.retired:
            health["retired"] = dict(self._models.retired)
        return {**health, "reason": reason} if reason else health

    def _health_of(self, state: ModelState) -> dict[str, Any]:
        past = self._histories.health(state.loaded.contract) if state.loaded else None
        found = _health_of(state)
        return found if past is None else {**found, "history": past}

    def _openapi(self) -> dict[str, Any]:
        loaded = (state.loaded for state in self._models.models.values())
        return document([model.contract for model in loaded if model], self._needs_token)

    def _docs(self) -> Answer:
        headers = {"content-type": docs.CONTENT_TYPE, "content-security-policy": docs.POLICY}
        return Answer(200, docs.page(self._openapi()), headers)

    def _metrics(self) -> Answer:
        page = exposition(self._stats.everywhere(), self._models.models, self._log)
        return Answer(200, page, {"content-type": METRICS})


def _json(content: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(content))


def _of_version(state: ModelState, version: str) -> LoadedModel | None:
    if not version:
        return state.loaded
    return next((one for one in versions_of(state) if one.version == version), None)


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
