"""What every protocol takes and gives, so that one service can speak them all."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mlops_assets.domain.column_requests import ColumnParser
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import MAX_REQUEST_ID, ParsedRequest, RequestParser
from serving.answers import Answer
from serving.bulk import BulkReader
from serving.predicted import Predicted

Headers = Mapping[str, str]
# The header of draft-ietf-httpapi-idempotency-key-header, for protocols whose bodies have no
# place for the id that makes a repeated request the same request.
IDEMPOTENCY_KEY = "idempotency-key"


@dataclass(frozen=True, slots=True)
class Parsers:
    """The validation of one contract, for requests by record and by column."""

    contract: Contract
    by_record: RequestParser
    by_column: ColumnParser
    bulk: BulkReader

    @classmethod
    def of(
        cls, contract: Contract, known: Mapping[str, Collection[str]] | None = None
    ) -> "Parsers":
        """Compile all three; `known` are the levels that categories are known to have."""
        bulk = BulkReader(contract, known)
        return cls(contract, RequestParser(contract), ColumnParser(contract), bulk)


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request, and how its client wants to be answered."""

    request: ParsedRequest
    answer: Callable[[Predicted], Answer]


# One predicting protocol. `headers` has lower-case names. Raises BodyError, RequestError or
# Refusal, and nothing else, whatever the client sends.
Parse = Callable[[Parsers, bytes, Headers], Asked]


def media_type(headers: Headers, name: str = "content-type") -> str:
    """The media type that a header names, without its parameters; empty if there is none."""
    return headers.get(name, "").partition(";")[0].strip().lower()


def idempotency_key(headers: Headers) -> str | None:
    """The client's id of this request: bare, or in the quotes that the draft wants.

    Raises RequestError for one that is too long.
    """
    key = headers.get(IDEMPOTENCY_KEY, "").strip().strip('"')
    if len(key) > MAX_REQUEST_ID:
        raise RequestError(f"must have at most {MAX_REQUEST_ID} characters", IDEMPOTENCY_KEY)
    return key or None


def labels(predicted: Predicted) -> list[str] | list[float]:
    """The prediction of each row: its class, or its value.

    argmax finds the first of equals: ties go to the lower class, here as everywhere.
    """
    classes = predicted.contract.classes
    if not classes:
        return [output[0] for output in predicted.lists]
    return [classes[index] for index in np.asarray(predicted.outputs).argmax(axis=1).tolist()]


def repeated(names: Iterable[str]) -> str | None:
    """The first name that occurs again, if any."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
