"""Which operation of which protocol a path means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from serving.protocols import mlflow_scoring, native, open_inference
from serving.protocols.exchange import Parse


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, the method it wants, and the model and version that the path names, if any."""

    operation: str
    method: str = "GET"
    model: str = ""
    version: str = ""

    @property
    def is_open_inference(self) -> bool:
        """Whether clients expect errors, too, in the shape of that protocol."""
        return self.operation.startswith("v2_")


# The operations that predict. `invocations` without a model is that of the only one served.
PARSE: Mapping[str, Parse] = MappingProxyType(
    {
        "predict": native.parse,
        "v2_infer": open_inference.parse,
        "invocations": mlflow_scoring.parse,
    }
)
_FIXED = {
    "/v2": Route("v2_server"),
    "/v2/": Route("v2_server"),
    "/v2/health/live": Route("v2_live"),
    "/v2/health/ready": Route("v2_ready"),
    "/ping": Route("ping"),
    "/version": Route("version"),
    "/invocations": Route("invocations", "POST"),
}
_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")
_V2_OPERATIONS = {
    None: ("v2_model", "GET"),
    "ready": ("v2_model_ready", "GET"),
    "infer": ("v2_infer", "POST"),
}
_OTHERS = (
    (re.compile(r"/v1/models/([^/]+)/predict"), "predict"),
    (re.compile(r"/models/([^/]+)/invocations"), "invocations"),
)


def match(path: str) -> Route | None:
    """The route of a path, or None for one that means nothing here."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    for pattern, operation in _OTHERS:
        found = pattern.fullmatch(path)
        if found:
            return Route(operation, "POST", found[1])
    found = _V2.fullmatch(path)
    if found is None:
        return None
    operation, method = _V2_OPERATIONS[found[3]]
    return Route(operation, method, found[1], found[2] or "")
