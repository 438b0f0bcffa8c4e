"""What a model's `defs.yaml` may say about its serving."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mlops_assets.domain.guard import Limits
from mlops_assets.spec.part import Part

USUAL = Limits()


class Guarding(Part):
    """What a version may do to its users before it is taken back and quarantined at once.

    Latency is compared with gates.latency_ms, too.
    """

    probation_minutes: float = Field(
        default=60.0,
        ge=0,
        description="Minutes after a release in which the version before answers for what the new "
        "one fails on, and takes over again if it fails too often; 0 turns both off.",
    )
    max_failure_share: float = Field(
        default=USUAL.failure_share,
        gt=0,
        lt=1,
        description="Largest share of requests that may raise an error or get no finite output.",
    )
    latency_ratio: float = Field(
        default=USUAL.latency_ratio,
        ge=1,
        description="How many times slower than the version before the 99th percentile may be, "
        "where it exceeds gates.latency_ms as well.",
    )
    constant_rows: int = Field(
        default=USUAL.constant_rows,
        ge=2,
        description="So many equal outputs to different rows take a version back, if the version "
        "before gave different ones.",
    )


def _off_from_yaml(value: Any) -> Any:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class Serving(Part):
    """How the HTTP endpoint serves the model, and what it does about a bad release."""

    max_rows: int = Field(default=10_000, ge=1, description="Most rows in one request.")
    canary: Annotated[
        Literal["auto", "off"],
        BeforeValidator(_off_from_yaml, json_schema_input_type=Literal["auto", "off"]),
    ] = Field(
        default="off",
        description="auto: a challenger that passed its gates answers 1, 10, then 50% of the "
        "subjects, and is released once its labels prove it better, or not worse than gates.margin "
        "allows; it is stopped as soon as they prove it worse. off: it is released at once.",
    )
    store_away: Literal["refuse", "missing"] = Field(
        default="refuse",
        description="What becomes of requests that need the online store of history while it does "
        "not answer. refuse: 503, try again. missing: the inputs from the past count as missing.",
    )
    log_away: Literal["refuse", "answer"] = Field(
        default="refuse",
        description="What becomes of requests while the prediction log cannot be written, as on a "
        "full disk. refuse: 503, try again. answer: they are answered without a record, which is "
        "counted; no report ever knows of them.",
    )
    guard: Guarding = Field(default=Guarding(), description="When a release is taken back.")

    def limits(self, latency_ms: float) -> Limits:
        """The guard's limits, with the latency budget of the gates."""
        return Limits(
            failure_share=self.guard.max_failure_share,
            latency_seconds=latency_ms / 1000,
            latency_ratio=self.guard.latency_ratio,
            constant_rows=self.guard.constant_rows,
        )
