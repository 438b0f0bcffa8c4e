"""What a model's `defs.yaml` says for its card and its data sheet: what no data can tell."""

from pydantic import Field

from mlops_assets.spec.part import Part


class DataNotes(Part):
    """What people must know of the data (after Gebru et al., Datasheets for Datasets, 2018)."""

    origin: str = Field(default="", description="Who collected the rows, how, and what for.")
    licence: str = Field(default="", description="Under which terms the data may be used.")
    personal: str = Field(
        default="",
        description="Whether rows are about people, what is told of them, and on what grounds; "
        "say `no` if they are not.",
    )
    gaps: tuple[str, ...] = Field(
        default=(), description="What is known to be missing, wrong or one-sided in the data."
    )


class Card(Part):
    """What people must know of the model (after Mitchell et al., Model Cards, 2019)."""

    purpose: str = Field(
        default="",
        description="What the model is for, and which decision it supports; if empty, the model's "
        "description.",
    )
    users: tuple[str, ...] = Field(default=(), description="Who is meant to use it.")
    limits: tuple[str, ...] = Field(
        default=(),
        description="What it must not be used for, and where it is known to be wrong.",
    )
    risks: tuple[str, ...] = Field(
        default=(), description="Whom it may harm, how, and what is done about it."
    )
    advice: tuple[str, ...] = Field(
        default=(), description="What whoever uses or maintains it should do or watch."
    )
    data: DataNotes = Field(default=DataNotes(), description="For the data sheet.")
