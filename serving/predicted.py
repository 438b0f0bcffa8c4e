"""What a prediction is to those who render it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_assets.domain.contract import Contract


@dataclass(frozen=True, slots=True)
class Predicted:
    """The answered rows of one request, in its order.

    `outputs` has a list of probabilities, or of one value, for each row. `rows` gives version and
    variant of each row where several versions answered, and is empty where `version` and `variant`
    answered all.
    """

    contract: Contract
    version: str
    variant: str
    request_id: str
    ids: list[str]
    outputs: list[list[float]]
    rows: Sequence[tuple[str, str]] = ()
