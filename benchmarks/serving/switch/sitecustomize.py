"""Imported by every Python that has this folder on its path: a prediction log that can be off.

Only `benchmarks.releases` does that, to measure what the log costs on one and the same server.
"""

import os

_OFF = os.environ.get("BENCHMARK_LOG_OFF", "")

if _OFF:
    from mlops_assets.stores.packed_rows import PackedRequest
    from mlops_assets.stores.prediction_log import LoggedRequest, SegmentWriter

    _append = SegmentWriter.append

    def append(self: SegmentWriter, record: LoggedRequest | PackedRequest) -> None:
        """Append unless the file is there; looking for it costs the same either way."""
        if not os.path.exists(_OFF):  # noqa: PTH110 - the quickest
            _append(self, record)

    SegmentWriter.append = append  # type: ignore[method-assign]
