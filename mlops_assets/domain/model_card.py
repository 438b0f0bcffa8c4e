"""The model card of a version, after Mitchell et al., Model Cards for Model Reporting (2019).

Its sections are theirs, with the summary, the gates and what happened since the release added.
"""

from collections.abc import Mapping

from mlops_assets.domain import card_evidence
from mlops_assets.domain.card import Notes, ServedPeriod, Since, VersionFacts
from mlops_assets.domain.card_caveats import caveats, poor_slices
from mlops_assets.domain.card_text import (
    count,
    first_part,
    gates_in_short,
    metric_name,
    number,
    sentence,
    span,
    with_ends,
    written,
)
from mlops_assets.domain.document import (
    Block,
    Bullets,
    Document,
    Paragraph,
    Section,
    Table,
    facts_table,
)

SHOWN_PERIODS = 12


def model_card(
    facts: VersionFacts, notes: Notes, since: Since, pictures: Mapping[str, str]
) -> Document:
    """The card; `notes` are what people say today, `pictures` names with what they show."""
    return Document(
        f"Model card: {facts.model}, version {facts.version}",
        (
            Section("In short", (Bullets(_short(facts, notes, since)),)),
            Section("Model details", _details(facts, notes)),
            Section("Intended use", _use(notes)),
            Section("Evaluation data and training data", _data(facts)),
            Section("Quality on the holdout", card_evidence.quality(facts, pictures)),
            Section("Parts of the data (factors)", card_evidence.slices(facts)),
            Section("Calibration", card_evidence.calibration(facts, pictures)),
            Section("What the model relies on", card_evidence.importance(facts, pictures)),
            Section("Release gates", card_evidence.gates(facts)),
            Section("Since the release", _since(since)),
            Section(
                "Ethical considerations",
                (written(notes.risks, "card.risks"), _people(notes)),
            ),
            Section("Caveats and recommendations", _caveats(facts, notes)),
        ),
    )


def _short(facts: VersionFacts, notes: Notes, since: Since) -> tuple[str, ...]:
    holdout, name = facts.part("holdout"), facts.primary_metric
    purpose = f" Purpose: {sentence(notes.purpose)}" if notes.purpose else ""
    quality = (
        f"{metric_name(name).capitalize()} {with_ends(facts.metrics[name])} on {holdout.rows:,} "
        f"rows of {span(holdout)} that it was not trained on"
    )
    if name in facts.guess:
        quality += f"; a constant guess has {number(facts.guess[name])}"
    found = [f"Predicts {sentence(facts.target)}{purpose}", sentence(quality)]
    found.append(sentence(gates_in_short(facts)))
    found.append(_standing(facts.version, since))
    if since.periods:
        found.append(_served(since))
    poor = poor_slices(facts)
    if poor:
        names = ", ".join(f"{one.column} = {one.value}" for one in poor[:3])
        found.append(f"Surely worse than on average where {names}.")
    if notes.limits:
        found.append(f"Limits: {' '.join(map(sentence, notes.limits))}")
    if notes.missing:
        found.append(f"Not filled in by its owner: {', '.join(notes.missing)}.")
    return tuple(found)


def _standing(version: str, since: Since) -> str:
    if not since.moves:
        return "Was never released."
    last = since.moves[-1]
    if last.to_version == version:
        verb = "Released" if last.kind == "release" else "Made the champion again"
        return f"{verb} {_day(last.at)} by {last.actor}: {sentence(first_part(last.reason))}"
    how = "Rolled back to" if last.kind == "rollback" else "Replaced by"
    return f"{how} version {last.to_version} {_day(last.at)} by {last.actor}: " + sentence(
        first_part(last.reason)
    )


def _served(since: Since) -> str:
    harmed = sum(one.harmed for one in since.periods)
    drifted = sum(bool(one.drifted) for one in since.periods)
    text = f"Has served {count(len(since.periods), 'period')}, the newest {since.newest}: "
    text += f"loss proven higher than at the release in {harmed}, inputs drifted in {drifted}."
    return text


def _details(facts: VersionFacts, notes: Notes) -> tuple[Block, ...]:
    tasks = {"binary": "classification, two classes", "multiclass": "classification"}
    settings = ", ".join(f"{name} {value}" for name, value in facts.params.items())
    rows = [
        ("About", notes.about if notes.about != notes.purpose else ""),
        ("Owner", notes.owner or "not named in defs.yaml"),
        ("Task", tasks.get(facts.task, "regression")),
        ("Predicts", facts.target),
        ("Estimator", facts.estimator),
        ("Settings", settings),
        ("Chosen by", f"{metric_name(facts.primary_metric)} on the validation periods"),
        ("Inputs", ", ".join(f"{name} ({kind})" for name, kind in facts.inputs.items())),
        ("Derived in the model", "; ".join(facts.derived)),
        ("Made", f"{_day(facts.made_at)}, with the labels that were known then"),
        ("Served through", facts.runtime),
        *facts.provenance.items(),
    ]
    return (facts_table(rows),)


def _use(notes: Notes) -> tuple[Block, ...]:
    return (
        written((notes.purpose,), "card.purpose"),
        Paragraph(f"Users: {'; '.join(notes.users) or 'not filled in (card.users)'}"),
        Paragraph("Limits, and uses it is not meant for:"),
        written(notes.limits, "card.limits"),
    )


def _data(facts: VersionFacts) -> tuple[Block, ...]:
    used = {
        "training": "fits the candidates",
        "validation": "chooses among them; then fits the winner too",
        "holdout": "judges the winner, and nothing else",
    }
    rows = tuple(
        (one.name, span(one), f"{one.rows:,}", one.label, used[one.name]) for one in facts.parts
    )
    return (
        Table(("part", "days", "rows", "labels", "use"), rows),
        Paragraph(
            f"Split by time. Of the holdout's rows {facts.label_coverage:.1%} had a label by then; "
            "rows without one are not used. The data sheet says more."
        ),
    )


def _since(since: Since) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if since.moves:
        moves = tuple(
            (
                _day(move.at),
                move.kind,
                f"{move.from_version or 'none'} → {move.to_version}",
                move.actor,
                move.reason,
            )
            for move in since.moves
        )
        blocks.append(Table(("when", "what", "versions", "who", "why"), moves))
    else:
        blocks.append(Paragraph("Was never released."))
    if since.incidents:
        blocks.append(Bullets(since.incidents))
    if not since.periods:
        return (*blocks, Paragraph("There is no report on a period that it served."))
    hidden = len(since.periods) - SHOWN_PERIODS
    text = _served(since)
    text += f" The newest {SHOWN_PERIODS} are shown." if hidden > 0 else ""
    rows = tuple(map(_period, since.periods[-SHOWN_PERIODS:]))
    head = ("period", "predictions", "labelled", "loss", "at release", "verdict", "drifted")
    return (*blocks, Paragraph(text), Table(head, rows))


def _period(one: ServedPeriod) -> tuple[str, ...]:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    drifted = "no report" if one.drifted is None else ", ".join(one.drifted) or "none"
    return (
        one.period,
        shown(one.predictions, ","),
        shown(one.labelled, ","),
        "" if one.loss is None else number(one.loss),
        "" if one.reference_loss is None else number(one.reference_loss),
        one.verdict or "no report",
        drifted,
    )


def _people(notes: Notes) -> Paragraph:
    return Paragraph(
        f"Personal data: {sentence(notes.personal) or 'not filled in (card.data.personal).'}"
    )


def _caveats(facts: VersionFacts, notes: Notes) -> tuple[Block, ...]:
    return (Bullets((*notes.advice, *caveats(facts))),)


def _day(moment: str) -> str:
    return moment[:10]
