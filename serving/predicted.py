"""What a prediction is to those who render it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlops_assets.domain.contract import Contract


@dataclass(frozen=True, slots=True)
class Predicted:
    """The answered rows of one request, in its order.

    `outputs` has the probabilities, or the one value, of each row: lists, or an array of shape
    (n, outputs) where there are many. `rows` gives version and variant of each row where several
    versions answered, and is empty where `version` and `variant` answered all.
    """

    contract: Contract
    version: str
    variant: str
    request_id: str
    stem: str
    outputs: list[list[float]] | np.ndarray
    rows: Sequence[tuple[str, str]] = ()

    @property
    def ids(self) -> list[str]:
        """The prediction id of each row."""
        return [f"{self.stem}-{row}" for row in range(len(self.outputs))]

    @property
    def lists(self) -> list[list[float]]:
        """The outputs as lists."""
        if isinstance(self.outputs, np.ndarray):
            found: list[list[float]] = self.outputs.tolist()
            return found
        return self.outputs
