"""From the source to model-ready rows: raw_data, validated_data, features."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.data_checks import RAW_CHECKS, Judged, newest, note
from mlops_assets.assets.options import key, materialized, options, tell
from mlops_assets.domain.errors import DataError, SourceAwayError, SourceError
from mlops_assets.domain.periods import SHORTEST
from mlops_assets.resources import Stores
from mlops_assets.spec import Model

if TYPE_CHECKING:
    import pyarrow as pa

# For what may pass: a source that is away, another process at the lake. Not for wrong data.
RETRIES = dg.RetryPolicy(
    max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


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
            dg.AssetCheckSpec(check, asset=name, description=text)
            for check, text in RAW_CHECKS.items()
        ],
    )
    def _raw_data(context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
        from mlops_assets.stores.period_rows import from_source

        lake, periods = stores.lake, context.partition_keys
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        notes: dict[str, list[str]] = {check: [] for check in RAW_CHECKS}
        try:
            for group in from_source(model, periods):
                types = lake.schema(model.name, "raw_data")
                written = lake.write_periods(model.name, "raw_data", group)
                for period, rows in group.items():
                    versions[period] = written[period].content_hash
                    metadata[period] = {
                        "dagster/row_count": rows.num_rows,
                        "content_hash": versions[period],
                        "changed": written[period].changed,
                        "newest_row": str(newest(rows, model.spec.event_time)),
                    }
                    note(notes, model, period, rows, types)
                tell(context, periods, group, sum(rows.num_rows for rows in group.values()))
        except SourceAwayError:
            raise
        except (DataError, SourceError) as error:
            # What is wrong stays wrong however often it is read again.
            raise dg.Failure(str(error), allow_retries=False) from error
        held = lake.held(model.name, "raw_data")
        notes["gaps"] = model.calendar.told_gaps([period for period in held if held[period].rows])
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
        from mlops_assets.stores.period_rows import from_lake

        lake, periods = stores.lake, context.partition_keys
        judged = Judged(model.spec.validation.max_rejected_share)
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        for group in from_lake(lake, model.name, "raw_data", periods):
            good, bad = _good_and_bad(group, model, judged)
            for period in judged.refuse(good, bad):
                del good[period]
            lake.write_periods(model.name, "rejected", bad)
            written = lake.write_periods(model.name, "validated_data", good)
            for period in good:
                versions[period] = written[period].content_hash
                metadata[period] = {
                    "dagster/row_count": written[period].rows,
                    "rejected_rows": len(bad[period]),
                    "content_hash": versions[period],
                }
            tell(context, periods, group, sum(len(rows) for rows in group.values()))
        yield judged.check(name)
        if not judged.refused:
            yield from materialized(context, versions, metadata)

    return _validated_data


def _good_and_bad(
    group: Mapping[str, "pa.Table"], model: Model, judged: Judged
) -> tuple[dict[str, "pa.Table"], dict[str, "pa.Table"]]:
    """The rows of each period that satisfy the contract, and the others with their reasons."""
    import pyarrow as pa

    from mlops_assets.assets.tables import as_table
    from mlops_assets.domain.validation import validate
    from mlops_assets.stores.delta_tables import by_period
    from mlops_assets.stores.period_rows import batches
    from mlops_assets.stores.tables import to_frame

    contract = model.spec.rows_contract()
    good: dict[str, pa.Table] = {}
    bad: dict[str, pa.Table] = {}
    for batch in batches(group):
        # A key holds the event time, so no two rows of two periods have the same.
        result = validate(to_frame(pa.concat_tables(batch.values())), contract)
        judged.failures.update(result.failures)
        bad |= by_period(as_table(result.rejected), batch)
        good |= by_period(as_table(result.valid), batch)
    return good, bad


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
        import pyarrow as pa

        from mlops_assets.assets.tables import as_table, columns_table, feature_rows
        from mlops_assets.stores.entity_events import Past
        from mlops_assets.stores.period_rows import batches, from_lake, slices
        from mlops_assets.stores.tables import to_frame

        lake, periods = stores.lake, context.partition_keys
        past = Past(model, lake)
        versions: dict[str, str] = {}
        metadata: dict[str, dict[str, Any]] = {}
        for group in from_lake(lake, model.name, "validated_data", periods):
            made: dict[str, pa.Table] = {}
            for batch in batches(group):
                rows = to_frame(pa.concat_tables(batch.values()))
                places = slices(batch)
                frame = feature_rows(model, rows, past.of_periods(rows, places))
                table = as_table(frame)
                for period, place in places.items():
                    own = frame.iloc[place]
                    made[period] = table[place]
                    metadata[period] = {
                        "dagster/row_count": len(own),
                        "labelled_rows": int(own["label"].notna().sum()),
                        "data_sheet": columns_table(own, model.spec),
                    }
            for period, written in lake.write_periods(model.name, "features", made).items():
                versions[period] = written.content_hash
                metadata[period]["content_hash"] = written.content_hash
            tell(context, periods, group, sum(len(rows) for rows in made.values()))
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
