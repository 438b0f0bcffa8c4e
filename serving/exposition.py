"""GET /metrics: the counts of all processes of this node, in Prometheus' text format.

Every replica answers with the same sums, made from the snapshots that all of them keep, so it
does not matter which one a scrape reaches. A snapshot is at most half a second old.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_assets.stores.log_lag import log_lag
from serving.models import ModelState
from serving.stats import LATENCY_BOUNDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTS = (
    ("requests", "requests", "Requests that a version was asked to answer."),
    ("rows", "rows", "Rows that were answered."),
    ("exceptions", "model_exceptions", "Requests on which the model raised an error."),
    ("invalid_outputs", "invalid_outputs", "Requests for which an output was no finite number."),
    ("fallbacks", "fallbacks", "Requests that another version answered because this one failed."),
    ("shadow_rows", "shadow_rows", "Rows that were scored as a shadow."),
    ("unlogged", "unlogged_requests", "Requests that were answered without a record."),
)
_LOOKED_UP = {
    "rows": "Rows whose inputs from the past were looked up.",
    "unknown": "Rows of these with a key that has no past.",
    "stale": "Rows of these that were answered as of a publication that was too old.",
    "failed": "Rows of these for which the online store did not answer.",
}


def exposition(
    counted: Sequence[Mapping[str, Any]], models: Mapping[str, ModelState], log: Path
) -> bytes:
    """The page. `models` are those of the answering process, `log` the prediction log's root."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collected:
        def collect(self) -> Iterator[Any]:
            yield from _of_versions(counted)
            yield from _of_processes(counted)
            yield from _of_look_ups(counted)
            yield from _of_models(models, log)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    return generate_latest(registry)


def _of_versions(counted: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    total = _summed(counted)
    labels = ("model", "version")
    for name, shown, text in _COUNTS:
        family = CounterMetricFamily(f"mlops_{shown}", text, labels=labels)
        for key, counts in total.items():
            family.add_metric(key, counts.get(name, 0))
        yield family
    latency = HistogramMetricFamily(
        "mlops_request_seconds", "Time from a request's arrival to its answer.", labels=labels
    )
    for key, counts in total.items():
        latency.add_metric(key, _cumulated(counts["latency_counts"]), counts["latency_sum"])
    yield latency
    unknown = CounterMetricFamily(
        "mlops_unknown_categories",
        "Values that the version's reference data did not have.",
        labels=(*labels, "column"),
    )
    for key, counts in total.items():
        for column, times in counts["unknown_categories"].items():
            unknown.add_metric((*key, column), times)
    yield unknown


def _of_processes(counted: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    refused = CounterMetricFamily(
        "mlops_refused_requests", "Requests without a prediction.", labels=("model", "status")
    )
    statuses: dict[tuple[str, str], int] = {}
    swaps: dict[str, int] = {}
    dropped: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for one in counted:
        for model, kinds in one["refused"].items():
            for status, times in kinds.items():
                statuses[model, status] = statuses.get((model, status), 0) + times
        for model, counts in one["models"].items():
            swaps[model] = swaps.get(model, 0) + counts.get("swaps", 0)
            dropped[model] = dropped.get(model, 0) + counts.get("shadow_dropped", 0)
            seconds[model] = max(seconds.get(model, 0.0), counts.get("swap_seconds", 0.0))
    for key, times in statuses.items():
        refused.add_metric(key, times)
    yield refused
    swapped = CounterMetricFamily("mlops_swaps", "Versions that took over.", labels=("model",))
    took = GaugeMetricFamily(
        "mlops_swap_seconds", "Time that getting the newest version ready took.", labels=("model",)
    )
    for model, times in swaps.items():
        swapped.add_metric((model,), times)
        took.add_metric((model,), seconds[model])
    yield swapped
    yield took
    left_out = CounterMetricFamily(
        "mlops_shadow_dropped", "Requests that the shadow had no time for.", labels=("model",)
    )
    for model, times in dropped.items():
        left_out.add_metric((model,), times)
    yield left_out


def _of_look_ups(counted: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    newest: dict[str, tuple[float, float]] = {}
    total: dict[str, dict[str, int]] = {}
    for one in counted:
        for model, counts in one["models"].items():
            found = counts.get("looked_up")
            if not found:
                continue
            known = total.setdefault(model, dict.fromkeys(_LOOKED_UP, 0))
            for name in known:
                known[name] += found[name]
            if found["age_seconds"] is not None:
                mark = (one.get("at", 0.0), found["age_seconds"])
                newest[model] = max(newest.get(model, mark), mark)
    for name, text in _LOOKED_UP.items():
        family = CounterMetricFamily(f"mlops_history_{name}", text, labels=("model",))
        for model, known in total.items():
            family.add_metric((model,), known[name])
        yield family
    age = GaugeMetricFamily(
        "mlops_history_age_seconds",
        "From the newest publication to the event time of the row that was looked up last.",
        labels=("model",),
    )
    for model, (_, seconds) in newest.items():
        age.add_metric((model,), seconds)
    yield age


def _of_models(models: Mapping[str, ModelState], log: Path) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily

    served = GaugeMetricFamily(
        "mlops_model_version", "1 for the champion that is served.", labels=("model", "version")
    )
    healthy = GaugeMetricFamily(
        "mlops_model_healthy", "0 where what was asked for is not served.", labels=("model",)
    )
    lag = GaugeMetricFamily(
        "mlops_prediction_log_pending_bytes",
        "Bytes of the prediction log that are not in the lake yet.",
        labels=("model",),
    )
    torn = GaugeMetricFamily(
        "mlops_prediction_log_torn_lines",
        "Lines that a crash or a full disk cut off, never answered, and left out of the lake.",
        labels=("model",),
    )
    for model, state in models.items():
        if state.loaded is not None:
            served.add_metric((model, state.loaded.version), 1)
        healthy.add_metric((model,), 0 if state.problem else 1)
        found = log_lag(log / model)
        lag.add_metric((model,), found.pending_bytes)
        torn.add_metric((model,), found.torn_lines)
    yield served
    yield healthy
    yield lag
    yield torn


def _summed(counted: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The counts of each model and version, over all processes."""
    total: dict[tuple[str, str], dict[str, Any]] = {}
    for one in counted:
        for model, found in one["models"].items():
            for version, counts in found["versions"].items():
                known = total.get((model, version))
                total[model, version] = dict(counts) if known is None else _added(known, counts)
    return total


def _added(known: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    columns = known["unknown_categories"].keys() | counts["unknown_categories"].keys()
    return {
        # A process of another release may count less.
        **{name: known.get(name, 0) + counts.get(name, 0) for name, _, _ in _COUNTS},
        "latency_sum": known["latency_sum"] + counts["latency_sum"],
        "latency_counts": [
            a + b for a, b in zip(known["latency_counts"], counts["latency_counts"], strict=True)
        ],
        "unknown_categories": {
            column: known["unknown_categories"].get(column, 0)
            + counts["unknown_categories"].get(column, 0)
            for column in columns
        },
    }


def _cumulated(counts: Sequence[int]) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in LATENCY_BOUNDS), "+Inf"]
    total = 0
    buckets = []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
