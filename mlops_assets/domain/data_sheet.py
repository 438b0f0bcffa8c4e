"""The data sheet of what a version was made of, after Gebru et al., Datasheets for Datasets (2018).

Its sections are theirs. What only people know comes from defs.yaml, the rest from the facts.
"""

from mlops_assets.domain.card import Notes, VersionFacts
from mlops_assets.domain.card_text import count, sentence, span, written
from mlops_assets.domain.document import (
    Block,
    Bullets,
    Document,
    Paragraph,
    Section,
    Table,
    facts_table,
)

SHOWN_REASONS = 10


def data_sheet(facts: VersionFacts, notes: Notes) -> Document:
    """The sheet of the rows behind a version; `notes` are what people say today."""
    return Document(
        f"Data sheet: {facts.model}, version {facts.version}",
        (
            Section("Motivation", _motivation(facts, notes)),
            Section("Composition", _composition(facts)),
            Section("Collection", _collection(facts, notes)),
            Section("Preprocessing, cleaning and labelling", _preprocessing(facts)),
            Section("Uses", _uses(notes)),
            Section("Distribution", (written((notes.licence,), "card.data.licence"),)),
            Section("Maintenance", _maintenance(facts, notes)),
        ),
    )


def _motivation(facts: VersionFacts, notes: Notes) -> tuple[Block, ...]:
    why = sentence(notes.purpose) or "Its purpose is not filled in (card.purpose in defs.yaml)."
    return (Paragraph(f"The rows serve to predict {sentence(facts.target)} {why}"),)


def _composition(facts: VersionFacts) -> tuple[Block, ...]:
    parts = tuple(
        (one.name, span(one), f"{one.periods:,}", f"{one.rows:,}", one.label) for one in facts.parts
    )
    columns = tuple(
        (one.name, one.type, one.description, one.allowed, f"{one.missing:.1%}", one.values)
        for one in facts.columns
    )
    total = sum(one.rows for one in facts.parts)
    first = min(one.first for one in facts.parts)
    return (
        Paragraph(
            f"{count(total, 'row')} with a known label, from {first} to "
            f"{facts.part('holdout').last}, in {facts.cadence} periods. Missing shares and values "
            "below are those of the rows that the model was fitted on; levels of a category are "
            "named only where there are few."
        ),
        Table(("part", "days", "periods", "rows", "labels"), parts),
        Table(("column", "type", "meaning", "allowed", "missing", "values"), columns),
    )


def _collection(facts: VersionFacts, notes: Notes) -> tuple[Block, ...]:
    rows = [
        ("Source", facts.source),
        ("Origin", notes.origin or "not filled in (card.data.origin)"),
        ("Personal data", notes.personal or "not filled in (card.data.personal)"),
        ("When labels are known", facts.target_known),
    ]
    found: list[Block] = [facts_table(rows), Paragraph("Known gaps:")]
    return (*found, written(notes.gaps, "card.data.gaps"))


def _preprocessing(facts: VersionFacts) -> tuple[Block, ...]:
    told = facts.rejections
    share = f" ({told.rejected / told.rows:.2%})" if told.rows else ""
    reasons = sorted(told.reasons.items(), key=lambda item: -item[1])[:SHOWN_REASONS]
    blocks: list[Block] = [
        Paragraph(f"The label is {sentence(facts.target)}"),
        Paragraph(
            f"Of {told.rows:,} rows of the source in these periods {told.rejected:,}{share} broke "
            "the contract. They are kept apart, each with every reason, and not trained on."
        ),
    ]
    if reasons:
        rows = tuple((reason, f"{rows:,}") for reason, rows in reasons)
        blocks.append(Table(("reason", "rows"), rows))
    if facts.checks:
        blocks += [Paragraph("Rules over several columns:"), Bullets(facts.checks)]
    if facts.derived:
        blocks += [Paragraph("Computed from these columns:"), Bullets(facts.derived)]
    return tuple(blocks)


def _uses(notes: Notes) -> tuple[Block, ...]:
    return (
        Paragraph("Uses that the model, and so these rows, are not meant for:"),
        written(notes.limits, "card.limits"),
    )


def _maintenance(facts: VersionFacts, notes: Notes) -> tuple[Block, ...]:
    rows = [
        ("Owner", notes.owner or "not named in defs.yaml"),
        ("New rows", facts.cadence),
        ("Frozen", facts.made_at[:10]),
        *facts.provenance.items(),
    ]
    return (
        facts_table(rows),
        Paragraph(
            "Late labels and corrected rows restate their period in the lake. What this version "
            "was made of stays readable under the training set's name."
        ),
    )
