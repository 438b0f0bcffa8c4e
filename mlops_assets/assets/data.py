"""From the source to model-ready rows: raw_data, validated_data, features."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

import dagster as dg

from mlops_assets.assets.options import key, materialized, options, tell
from mlops_assets.domain.errors import DataError, SourceAwayError, SourceError
from mlops_assets.domain.periods import SHORTEST
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
            dg.AssetCheckSpec(
                "gaps",
                asset=name,
                description="Of all periods in the lake, none between the first and the last is "
                "without rows.",
            ),
        ],
    )
    def _raw_data(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.stores.period_rows import from_source

        spec, lake = model.spec, stores.lake
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        notes: dict[str, list[str]] = {"volume": [], "freshness": [], "schema_change": []}
        try:
            for group in from_source(model, context.partition_keys):
                types = lake.schema(model.name, "raw_data")
                written = lake.write_periods(model.name, "raw_data", group)
                for period, rows in group.items():
                    versions[period] = written[period].content_hash
                    metadata[period] = {
                        "dagster/row_count": rows.num_rows,
                        "content_hash": versions[period],
                        "changed": written[period].changed,
                        "newest_row": str(_newest(rows, spec.event_time)),
                    }
                    _note(notes, model, period, rows, types)
                tell(context, group, sum(rows.num_rows for rows in group.values()))
        except SourceAwayError:
            raise
        except (DataError, SourceError) as error:
            # What is wrong stays wrong however often it is read again.
            raise dg.Failure(str(error), allow_retries=False) from error
        notes["gaps"] = _gaps(model, lake)
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


def _gaps(model: Model, lake: Any) -> list[str]:
    held = lake.held(model.name, "raw_data")
    return [
        f"{first} has no rows" if count == 1 else f"{first} … {last} have no rows ({count} periods)"
        for first, last, count in model.calendar.gaps([p for p in held if held[p].rows])
    ]


def _newest(rows: Any, event_time: str) -> Any:
    import pyarrow.compute as pc

    return pc.max(rows[event_time]).as_py()


def _note(
    notes: Mapping[str, list[str]], model: Model, period: str, rows: Any, types: Mapping[str, str]
) -> None:
    """Write down what is unusual about a period, by check."""
    spec, bounds = model.spec, model.calendar.bounds(period)
    if rows.num_rows < spec.validation.min_rows:
        notes["volume"].append(
            f"{period}: {rows.num_rows} rows, at least {spec.validation.min_rows} expected"
        )
    newest = _newest(rows, spec.event_time)
    if newest is None or bounds.end - newest > STALE_SHARE * (bounds.end - bounds.start):
        notes["freshness"].append(f"{period}: newest row {newest}, ends {bounds.end}")
    known = notes["schema_change"]
    known += [change for change in _changes(types, rows) if change not in known]


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
        import pyarrow as pa

        from mlops_assets.assets.tables import as_table, by_period, reasons_table
        from mlops_assets.domain.validation import validate
        from mlops_assets.stores.period_rows import from_lake
        from mlops_assets.stores.tables import to_frame

        limit = model.spec.validation.max_rejected_share
        contract = model.spec.rows_contract()
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        refused: list[str] = []
        failures: dict[str, int] = {}
        rejected = total = 0
        periods = context.partition_keys
        for group in from_lake(stores.lake, model.name, "raw_data", periods):
            rows = to_frame(pa.concat_tables(group.values()))
            # A key holds the event time, so no two rows of two periods have the same.
            result = validate(rows, contract)
            valid, bad = by_period(result.valid, group), by_period(result.rejected, group)
            for reason, count in result.failures.items():
                failures[reason] = failures.get(reason, 0) + count
            shares = {p: len(bad[p]) / max(group[p].num_rows, 1) for p in group}
            refused += [f"{p}: {share:.2%}" for p, share in shares.items() if share > limit]
            good = {p: as_table(valid[p]) for p, share in shares.items() if share <= limit}
            stores.lake.write_periods(model.name, "rejected", {p: as_table(bad[p]) for p in group})
            written = stores.lake.write_periods(model.name, "validated_data", good)
            for period in good:
                versions[period] = written[period].content_hash
                metadata[period] = {
                    "dagster/row_count": written[period].rows,
                    "rejected_rows": len(bad[period]),
                    "content_hash": versions[period],
                }
            rejected += len(result.rejected)
            total += len(rows)
            tell(context, group, len(rows))
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
        "it became known. Inputs from the past see only what was there and known before.",
        deps=[_validated_with_past(model)],
    )
    def _features(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.assets.tables import as_table, columns_table, feature_rows
        from mlops_assets.stores.entity_events import Past
        from mlops_assets.stores.period_rows import from_lake
        from mlops_assets.stores.tables import to_frame

        past = Past(model, stores.lake)
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        periods = context.partition_keys
        for group in from_lake(stores.lake, model.name, "validated_data", periods):
            valid = {period: to_frame(rows) for period, rows in group.items()}
            frames = {
                p: feature_rows(model, rows, past.inputs(p, rows)) for p, rows in valid.items()
            }
            written = stores.lake.write_periods(
                model.name, "features", {p: as_table(frame) for p, frame in frames.items()}
            )
            for period, frame in frames.items():
                versions[period] = written[period].content_hash
                metadata[period] = {
                    "dagster/row_count": written[period].rows,
                    "labelled_rows": int(frame["label"].notna().sum()),
                    "content_hash": versions[period],
                    "data_sheet": columns_table(frame, model.spec),
                }
            tell(context, group, sum(len(frame) for frame in frames.values()))
        yield from materialized(context, versions, metadata)

    return _features


def _validated_with_past(model: Model) -> dg.AssetDep:
    """The period's valid rows, and those before it that a window of `history` reaches."""
    name = key(model, "validated_data")
    if not model.spec.history:
        return dg.AssetDep(name)
    window = max(rule.window for rule in model.spec.history)
    periods = ceil(window / SHORTEST[model.calendar.every])
    mapping = dg.TimeWindowPartitionMapping(
        start_offset=-periods, allow_nonexistent_upstream_partitions=True
    )
    return dg.AssetDep(name, partition_mapping=mapping)
