"""A client of the HTTP endpoint that tells people what is wrong."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlops_assets.domain.errors import ServiceError

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class RecordSchema:
    """What a model takes: JSON Schema type names by column, and rows per request."""

    types: dict[str, frozenset[str]]
    max_rows: int


@dataclass(frozen=True)
class Endpoint:
    """The endpoint at `url`; `token` may be empty."""

    url: str
    token: str = ""

    def record_schema(self, model: str) -> RecordSchema:
        """What the endpoint's OpenAPI says about a model; raises ServiceError if it has none."""
        paths = self._call("/openapi.json")["paths"]
        path = f"/v1/models/{model}/predict"
        if path not in paths:
            served = [key.split("/")[3] for key in paths if key.endswith("/predict")]
            raise ServiceError(
                f"{self.url} does not serve {model!r}; it serves {', '.join(served) or 'nothing'}."
            )
        content = paths[path]["post"]["requestBody"]["content"]
        records = content["application/json"]["schema"]["properties"]["records"]
        types = {name: _types(one) for name, one in records["items"]["properties"].items()}
        return RecordSchema(types, records["maxItems"])

    def predict(
        self, model: str, records: Sequence[dict[str, Any]], first_row: int = 0
    ) -> dict[str, Any]:
        """One request; `first_row` is where its records are in the file, for the error."""
        try:
            return self._call(f"/v1/models/{model}/predict", {"records": records})
        except ServiceError as error:
            last = first_row + len(records) - 1
            raise ServiceError(f"rows {first_row} to {last} (0 is the first): {error}") from error

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        if not self.url.startswith(("http://", "https://")):
            raise ServiceError(f"{self.url!r} is no address: it starts with http:// or https://.")
        request = urllib.request.Request(self.url.rstrip("/") + path, data, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                content: dict[str, Any] = json.loads(answer.read())
                return content
        except urllib.error.HTTPError as error:
            raise ServiceError(_explain(error)) from error
        except (urllib.error.URLError, OSError) as error:
            raise ServiceError(f"{self.url} does not answer: {error}.") from error
        except ValueError as error:
            raise ServiceError(f"{self.url}{path} did not answer with JSON.") from error


def _types(column: dict[str, Any]) -> frozenset[str]:
    if "enum" in column:
        return frozenset(("boolean",))
    types = column["type"]
    return frozenset((types,) if isinstance(types, str) else types) - {"null"}


def _explain(error: urllib.error.HTTPError) -> str:
    try:
        detail = json.loads(error.read())["error"]
        return f"{detail['field']} {detail['message']} (HTTP {error.code})"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code} {error.reason}"
