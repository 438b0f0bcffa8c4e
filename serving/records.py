"""What is logged of an answer, and the ids that it carries."""

import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mlops_assets.domain.requests import ParsedRequest
from mlops_assets.domain.split import CHAMPION
from mlops_assets.stores.bundles import OnnxScorer
from mlops_assets.stores.packed_rows import LEAST_ROWS, PackedRequest
from mlops_assets.stores.prediction_log import LoggedRequest
from serving.single import SingleRecord

_PROCESS = os.urandom(10).hex()
_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Served:
    """Rows scored by one version under the name of one variant."""

    version: str
    variant: str
    outputs: np.ndarray


def id_stem(model: str, request_id: str) -> str:
    """What a request's prediction ids begin with: the same for the same request id.

    Without one it is a random name of this process and a number, so that ids are unique whatever
    clients send.
    """
    if not request_id:
        return f"{_PROCESS}{next(_NUMBERS):08x}"
    return hashlib.blake2b(f"{model}\0{request_id}".encode(), digest_size=12).hexdigest()


def record_of(
    version: str,
    onnx: OnnxScorer,
    one: SingleRecord,
    stem: str,
    scores: list[float],
    seconds: float,
) -> LoggedRequest:
    """What is logged of one record that the champion answered the short way."""
    features: dict[str, list[Any]] = {
        name: [value] for name, value in zip(onnx.numeric, one.numbers, strict=True)
    }
    for name, text in zip(onnx.textual, one.categories, strict=True):
        features[name] = [text]
    return LoggedRequest(
        request_id=one.request_id or stem,
        at=datetime.now(UTC).isoformat(),
        version=version,
        variant=CHAMPION,
        latency_ms=round(seconds * 1000, 3),
        ids=[f"{stem}-0"],
        entities=[one.entity],
        event_times=[one.event_time],
        features=features,
        outputs=[scores],
    )


def records_of(
    served: Served, request: ParsedRequest, stem: str, rows: Sequence[int], seconds: float
) -> LoggedRequest | PackedRequest:
    """What is logged of the rows that one version answered; `rows` are their numbers."""
    about: dict[str, Any] = {
        "request_id": request.request_id or stem,
        "at": datetime.now(UTC).isoformat(),
        "version": served.version,
        "variant": served.variant,
        "latency_ms": round(seconds * 1000, 3),
    }
    if len(rows) >= LEAST_ROWS:
        return PackedRequest(
            **about,
            ids=stem if isinstance(rows, range) else [f"{stem}-{row}" for row in rows],
            entities=_some(request.entities),
            event_times=_some(request.event_times),
            columns=request.columns,
            outputs=served.outputs,
        )
    return LoggedRequest(
        **about,
        ids=[f"{stem}-{row}" for row in rows],
        entities=request.entities,
        event_times=request.event_times,
        # orjson writes NaN as null.
        features={name: values.tolist() for name, values in request.columns.items()},
        outputs=served.outputs.tolist(),
    )


def _some(values: list[str | None]) -> list[str | None] | None:
    return None if values.count(None) == len(values) else values
