"""`python -m … JOBLIB_FILE PORT`: a LitServe API that batches requests."""

import sys
from typing import Any

import joblib
import litserve  # type: ignore[import-not-found]
import pandas as pd

MAX_BATCH = 64
WAIT_SECONDS = 0.005


class Predictor(litserve.LitAPI):  # type: ignore[misc]
    """The pipeline; a batch of requests is one data frame."""

    def setup(self, device: str) -> None:
        """Load the pipeline in the worker."""
        self.model = joblib.load(sys.argv[1])

    def decode_request(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of one request."""
        rows: list[dict[str, Any]] = request["records"]
        return rows

    def batch(self, inputs: list[list[dict[str, Any]]]) -> Any:
        """The rows of all requests, and how many each has."""
        return [len(rows) for rows in inputs], [row for rows in inputs for row in rows]

    def predict(self, batch: Any) -> Any:
        """Probabilities, still with the counts."""
        counts, rows = batch
        return counts, self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()

    def unbatch(self, output: Any) -> list[list[float]]:
        """The answers of each request."""
        counts, values = output
        ends = [sum(counts[: i + 1]) for i in range(len(counts))]
        return [values[end - count : end] for count, end in zip(counts, ends, strict=True)]

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """The body of one answer."""
        return {"probabilities": output}


if __name__ == "__main__":
    api = Predictor(max_batch_size=MAX_BATCH, batch_timeout=WAIT_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", timeout=False)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False
    )
