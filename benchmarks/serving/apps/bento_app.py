"""A BentoML service whose endpoint batches adaptively."""

import os
from typing import Any

import bentoml  # type: ignore[import-not-found]
import joblib
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 300})
class Predictor:
    """The pipeline behind one batchable endpoint."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCHMARK_MODEL"])

    # Takes a list, since BentoML 1.4.40 takes a data frame's shape for its number of rows and
    # then answers no request.
    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/predict", batchable=True, max_batch_size=10_000, max_latency_ms=60_000
    )
    def predict(self, rows: list[dict[str, Any]]) -> list[list[float]]:
        """Probabilities of every row."""
        found: list[list[float]] = self.model.predict_proba(pd.DataFrame(rows)).tolist()
        return found
