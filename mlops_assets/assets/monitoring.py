"""How the served model does: predictions, ground_truth, reports, retrain_decision."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from mlops_assets.assets.options import key, materialized, options
from mlops_assets.resources import ALL_PERIODS, Stores
from mlops_assets.spec import Model


def predictions(model: Model) -> dg.AssetsDefinition:
    """The asset of the served predictions."""

    @dg.asset(
        **options(model, "predictions", group="monitoring", kinds={"deltalake"}, per_period=True),
        description="What was predicted for events of a period: the prediction log, each record "
        "exactly once.",
    )
    def _predictions(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.tables import as_table
        from mlops_assets.stores import monitoring
        from mlops_assets.stores.tables import content_hash

        bundle_of = _bundles(model, stores)
        ingested = monitoring.ingest_predictions(
            model, stores.lake, stores.prediction_log(model.name), monitoring.Contracts(bundle_of)
        )
        context.log.info(f"{ingested} new predictions came from the log")
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        for period in context.partition_keys:
            found = monitoring.answers_of(model, stores.lake, period)
            versions[period] = content_hash(as_table(found))
            metadata[period] = {
                "dagster/row_count": len(found),
                "by_version": _counts(found["version"]),
                "by_variant": _counts(found["variant"]),
            }
        yield from materialized(context, versions, metadata)

    return _predictions


def _counts(values: Any) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def ground_truth(model: Model) -> dg.AssetsDefinition:
    """The asset of the labels."""

    @dg.asset(
        **options(model, "ground_truth", group="monitoring", kinds={"deltalake"}, per_period=True),
        description="Labels that are known by now. A late label restates its period, and the "
        "restatement is told.",
        deps=[key(model, "raw_data")],
    )
    def _ground_truth(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.stores.monitoring import write_ground_truth

        now = stores.clock.now()
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        for period in context.partition_keys:
            written, changes = write_ground_truth(model, stores.lake, period, now)
            versions[period] = written.content_hash
            metadata[period] = {
                "dagster/row_count": written.rows,
                "known_at": now.isoformat(),
                "new_labels": changes.came,
                "restated_labels": changes.changed,
                "withdrawn_labels": changes.withdrawn,
            }
        yield from materialized(context, versions, metadata)

    return _ground_truth


def drift_report(model: Model) -> dg.AssetsDefinition:
    """The asset of the drift report."""
    name = key(model, "drift_report")

    @dg.asset(
        **options(model, "drift_report", group="monitoring", kinds={"evidently"}, per_period=True),
        description="Inputs and scores of a period against the reference profile of the version "
        "that served it: corrected two-sample tests with a floor for the effect. Evidently draws "
        "the same verdicts.",
        deps=[key(model, "predictions")],
        check_specs=[
            dg.AssetCheckSpec(
                "no_drift", asset=name, description="No column drifted beyond its limits."
            )
        ],
    )
    def _drift_report(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.drift import report_drift

        found = {p: report_drift(model, stores, p) for p in context.partition_keys}
        flagged = {column for reported in found.values() for column in reported.report.flagged}
        yield dg.AssetCheckResult(
            passed=not flagged,
            check_name="no_drift",
            asset_key=name,
            severity=dg.AssetCheckSeverity.WARN,
            description=_reasons(found),
            metadata={"periods": list(found), "flagged": sorted(flagged)},
        )
        yield from materialized(
            context, {}, {p: reported.metadata for p, reported in found.items()}
        )

    return _drift_report


def performance_estimate(model: Model) -> dg.AssetsDefinition:
    """The asset of the estimate without labels."""

    @dg.asset(
        **options(
            model, "performance_estimate", group="monitoring", kinds={"python"}, per_period=True
        ),
        description="The loss that is to be expected of a period before its labels are known, "
        "from the calibrated probabilities of its answers (CBPE), beside the error of such "
        "estimates on past periods. Sees a change of the inputs, not a change of the truth.",
        deps=[key(model, "predictions")],
    )
    def _performance_estimate(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.estimates import report_estimate

        found = {p: report_estimate(model, stores, p) for p in context.partition_keys}
        yield from materialized(
            context, {}, {p: reported.metadata for p, reported in found.items()}
        )

    return _performance_estimate


def performance_report(model: Model) -> dg.AssetsDefinition:
    """The asset of the performance report."""
    name = key(model, "performance_report")

    @dg.asset(
        **options(
            model,
            "performance_report",
            group="monitoring",
            kinds={"scikitlearn"},
            per_period=True,
        ),
        description="Quality on the matured labels of a period, with their coverage: the loss is "
        "tested against the holdout that the version was released on, and unharmed periods since; "
        "segments of the rows against what the model expected of them.",
        deps=[key(model, "predictions"), key(model, "ground_truth")],
        check_specs=[
            dg.AssetCheckSpec(
                "no_harm",
                asset=name,
                description="The loss does not exceed that of the release's holdout and of the "
                "unharmed periods since, and in no segment of the rows what was expected there.",
            ),
            dg.AssetCheckSpec(
                "no_decay",
                asset=name,
                description="The loss does not rise slowly over the version's periods.",
            ),
        ],
    )
    def _performance_report(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.quality import report_performance

        found = {p: report_performance(model, stores, p) for p in context.partition_keys}
        for check, alarm in (("no_harm", "harmed"), ("no_decay", "decaying")):
            yield dg.AssetCheckResult(
                passed=not any(getattr(reported.report, alarm) for reported in found.values()),
                check_name=check,
                asset_key=name,
                severity=dg.AssetCheckSeverity.WARN,
                description=_reasons(found),
                metadata={
                    "periods": list(found),
                    "judged": [p for p, reported in found.items() if reported.report.judged],
                },
            )
        yield from materialized(
            context, {}, {p: reported.metadata for p, reported in found.items()}
        )

    return _performance_report


def staleness_report(model: Model) -> dg.AssetsDefinition:
    """The asset of what a retrain is worth."""

    @dg.asset(
        **options(model, "staleness_report", group="monitoring", kinds={"python"}, per_period=True),
        description="What a retrain is worth after a period: how fast models age in this data, as "
        "cheap models of any age show (scouts), what the served one loses by its age, and whether "
        "training now costs less than any later date.",
        deps=[key(model, "features"), key(model, "performance_report")],
    )
    def _staleness_report(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.staleness import report_staleness

        found = {p: report_staleness(model, stores, p) for p in context.partition_keys}
        for reported in found.values():
            context.log.info(reported.metadata["reason"])
        yield from materialized(
            context, {}, {p: reported.metadata for p, reported in found.items()}
        )

    return _staleness_report


def retrain_decision(model: Model) -> dg.AssetsDefinition:
    """The asset of the decision."""

    @dg.asset(
        **options(model, "retrain_decision", group="monitoring", kinds={"python"}, per_period=True),
        description="What the reports of all periods until this one lead to: nothing, alert, "
        "retrain, rollback; with the reason. A sensor acts on it.",
        deps=[
            key(model, "drift_report"),
            key(model, "performance_report"),
            key(model, "staleness_report"),
        ],
    )
    def _retrain_decision(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.decision import decide_on

        found = {p: decide_on(model, stores, p) for p in context.partition_keys}
        for decision in found.values():
            context.log.info(f"{decision.action}: {'; '.join(decision.reasons)}")
        policy = model.spec.retraining.policy
        yield from materialized(
            context,
            {period: decision.id for period, decision in found.items()},
            {
                period: {
                    "action": decision.action,
                    "reasons": "; ".join(decision.reasons),
                    "decision": decision.id,
                    "version": decision.version,
                    "window": decision.window or ALL_PERIODS,
                    "policy": policy,
                }
                for period, decision in found.items()
            },
            {
                period: {"mlops/action": decision.action, "mlops/decision": decision.id}
                for period, decision in found.items()
            },
        )

    return _retrain_decision


def _reasons(found: Mapping[str, Any]) -> str:
    """The reports' reasons; of several periods, each with its name."""
    reasons = {period: reported.report.reason for period, reported in found.items()}
    if len(reasons) == 1:
        return str(*reasons.values())[:2000]
    return "; ".join(f"{period}: {reason}" for period, reason in reasons.items())[:2000]


def _bundles(model: Model, stores: Stores) -> Any:
    registry = stores.registry
    return lambda version: registry.cached_bundle(model.name, version, stores.bundles)
