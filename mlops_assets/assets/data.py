"""From the source to model-ready rows: raw_data, validated_data, features."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from mlops_assets.assets.options import key, materialized, options
from mlops_assets.domain.errors import DataError, SourceAwayError, SourceError
from mlops_assets.resources import Stores
from mlops_assets.spec import Model

# For what may pass: a source that is away, another process at the lake. Not for wrong data.
RETRIES = dg.RetryPolicy(
    max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
# The share of a period that may lie between its newest row and its end.
STALE_SHARE = 0.25


def raw_data(model: Model) -> dg.AssetsDefinition:
    """The asset of the source's rows."""
    name = key(model, "raw_data")

    @dg.asset(
        **options(
            model,
            "raw_data",
            group="data",
            kinds={"deltalake", model.spec.source.kind},
            per_period=True,
        ),
        description="The source's rows of a period, as they were; written once per content.",
        retry_policy=RETRIES,
        check_specs=[
            dg.AssetCheckSpec("volume", asset=name, description="The period has enough rows."),
            dg.AssetCheckSpec(
                "freshness", asset=name, description="The newest row is near the period's end."
            ),
            dg.AssetCheckSpec(
                "schema_change", asset=name, description="Columns have the types they had before."
            ),
        ],
    )
    def _raw_data(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.stores import sources

        spec, lake = model.spec, stores.lake
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        notes: dict[str, list[str]] = {"volume": [], "freshness": [], "schema_change": []}
        for period in context.partition_keys:
            bounds = model.calendar.bounds(period)
            try:
                rows = sources.read(
                    spec.source,
                    model.folder,
                    columns=spec.source_columns,
                    event_time=spec.event_time,
                    start=bounds.start,
                    end=bounds.end,
                )
                changes = _changes(lake.schema(model.name, "raw_data"), rows)
                written = lake.write_period(model.name, "raw_data", period, rows)
            except SourceAwayError:
                raise
            except (DataError, SourceError) as error:
                # What is wrong stays wrong however often it is read again.
                raise dg.Failure(str(error), allow_retries=False) from error
            newest = max(rows[spec.event_time].to_pylist(), default=None)
            versions[period] = written.content_hash
            metadata[period] = {
                "dagster/row_count": written.rows,
                "content_hash": written.content_hash,
                "changed": written.changed,
                "newest_row": str(newest),
            }
            if written.rows < spec.validation.min_rows:
                notes["volume"].append(
                    f"{period}: {written.rows} rows, at least {spec.validation.min_rows} expected"
                )
            length = bounds.end - bounds.start
            if newest is None or bounds.end - newest > STALE_SHARE * length:
                notes["freshness"].append(f"{period}: newest row {newest}, ends {bounds.end}")
            notes["schema_change"] += [c for c in changes if c not in notes["schema_change"]]
        yield from materialized(context, versions, metadata)
        for check, found in notes.items():
            yield dg.AssetCheckResult(
                passed=not found,
                check_name=check,
                asset_key=name,
                severity=dg.AssetCheckSeverity.WARN,
                description="; ".join(found) or "as expected",
                metadata={"periods": len(versions), "findings": len(found)},
            )

    return _raw_data


def _changes(known: Mapping[str, str], rows: Any) -> list[str]:
    """Columns whose type is not the one that the table has; the lake would hide the difference."""
    from mlops_assets.stores.tables import storable

    found = {field.name: str(field.type) for field in storable(rows).schema}
    return [
        f"{name}: {known.get(name, 'absent')} became {kind}"
        for name, kind in found.items()
        if known and known.get(name) != kind
    ]


def validated_data(model: Model) -> dg.AssetsDefinition:
    """The asset of rows that satisfy the contract."""
    name = key(model, "validated_data")

    @dg.asset(
        **options(
            model, "validated_data", group="data", kinds={"deltalake", "pandera"}, per_period=True
        ),
        description="Rows that satisfy the contract; the others are in the table `rejected`, "
        "each with every reason. A period with too many bad rows is not written: its last good "
        "content stays readable.",
        deps=[key(model, "raw_data")],
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                "contract",
                asset=name,
                blocking=True,
                description="The share of rows that break the contract is within its limit.",
            )
        ],
    )
    def _validated_data(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.tables import as_table, reasons_table
        from mlops_assets.domain.validation import validate
        from mlops_assets.stores.tables import to_frame

        limit = model.spec.validation.max_rejected_share
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        refused: list[str] = []
        failures: dict[str, int] = {}
        rejected = total = 0
        for period in context.partition_keys:
            rows = to_frame(stores.lake.read(model.name, "raw_data", periods=[period]))
            result = validate(rows, model.spec.rows_contract())
            rejected += len(result.rejected)
            total += len(rows)
            for reason, count in result.failures.items():
                failures[reason] = failures.get(reason, 0) + count
            stores.lake.write_period(model.name, "rejected", period, as_table(result.rejected))
            if result.rejected_share > limit:
                refused.append(f"{period}: {result.rejected_share:.2%}")
                continue
            written = stores.lake.write_period(
                model.name, "validated_data", period, as_table(result.valid)
            )
            versions[period] = written.content_hash
            metadata[period] = {
                "dagster/row_count": written.rows,
                "rejected_rows": len(result.rejected),
                "content_hash": written.content_hash,
            }
        worst = ", ".join(sorted(failures, key=failures.__getitem__, reverse=True)[:3])
        yield dg.AssetCheckResult(
            passed=not refused,
            check_name="contract",
            asset_key=name,
            description=(
                f"{rejected} of {total} rows rejected (limit {limit:.2%} of a period)"
                + (f"; refused {', '.join(refused)}; mostly {worst}" if refused else "")
            ),
            metadata={"rejected_rows": rejected, "reasons": reasons_table(failures)},
        )
        if not refused:
            yield from materialized(context, versions, metadata)

    return _validated_data


def features(model: Model) -> dg.AssetsDefinition:
    """The asset of model-ready rows."""

    @dg.asset(
        **options(model, "features", group="data", kinds={"deltalake", "pandas"}, per_period=True),
        description="Model-ready columns in the same normal form that serving builds from a "
        "request, the derived columns as people read them, and the label with the time at which "
        "it became known.",
        deps=[key(model, "validated_data")],
    )
    def _features(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.tables import as_table, columns_table, feature_rows
        from mlops_assets.stores.tables import to_frame

        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        for period in context.partition_keys:
            rows = to_frame(stores.lake.read(model.name, "validated_data", periods=[period]))
            frame = feature_rows(model, rows)
            written = stores.lake.write_period(model.name, "features", period, as_table(frame))
            versions[period] = written.content_hash
            metadata[period] = {
                "dagster/row_count": written.rows,
                "labelled_rows": int(frame["label"].notna().sum()),
                "content_hash": written.content_hash,
                "data_sheet": columns_table(frame, model.spec),
            }
        yield from materialized(context, versions, metadata)

    return _features
