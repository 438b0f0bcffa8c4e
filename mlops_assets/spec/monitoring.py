"""How the served model is watched."""

from datetime import timedelta

from pydantic import Field

from mlops_assets.spec.part import Duration, Part


class WatchedSlice(Part):
    """A part of the rows whose quality is reported alone."""

    column: str = Field(description="Column whose values are the slices.")
    min_rows: int = Field(
        default=200, ge=1, description="Slices with fewer labels are named, without metrics."
    )


class Monitoring(Part):
    """How the served model is watched."""

    wait: Duration = Field(
        default=timedelta(days=1),
        description="Time after a period's end until its labels are judged.",
    )
    min_rows: int = Field(default=200, ge=1, description="Smaller periods are not judged.")
    min_label_coverage: float = Field(
        default=0.8, ge=0, le=1, description="Below this share of labels a period isn't judged."
    )
    false_alarm_rate: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="At most this share of reports raise any alarm on unchanged data: the budget "
        "of all tests of all columns of a report together.",
    )
    min_effect: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Drift smaller than this is no drift, however sure. For numbers the "
        "winsorised Wasserstein distance in standard deviations of the reference (0.1: the mean "
        "moved by a tenth of one); for levels, predicted classes, missing values, new levels, "
        "values out of range and stuck columns the Jensen-Shannon distance of the shares of rows "
        "(0.1: from none to 2%, from 1% to 5%, from 50% to 62%).",
    )
    min_harm: float = Field(
        default=0.02,
        ge=0,
        description="A rise of the loss below this share of the release's loss is no harm.",
    )
    slices: tuple[WatchedSlice, ...] = Field(
        default=(), description="Slices that are reported alone; empty: those of the gates."
    )
    restate: int = Field(
        default=4,
        ge=0,
        description="Closed periods, counted from the newest, whose report is restated when their "
        "labels come late or change.",
    )
