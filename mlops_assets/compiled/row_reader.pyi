from collections.abc import Sequence

import numpy as np

class RowReader:
    def __init__(
        self,
        inputs: Sequence[tuple[str, str, bool, Sequence[str]]],
        extras: Sequence[str],
        largest: int,
    ) -> None: ...
    def read(
        self, raw: bytes
    ) -> (
        tuple[str | None, list[np.ndarray], list[tuple[str, ...]], dict[str, list[str | None]]]
        | None
    ): ...
