"""What was found out about a version's quality, as blocks of its model card."""

from collections.abc import Mapping

from mlops_assets.domain.card import VersionFacts
from mlops_assets.domain.card_caveats import poor_slices
from mlops_assets.domain.card_text import MEANINGS, metric_name, number, with_ends
from mlops_assets.domain.document import Block, Paragraph, Picture, Table
from mlops_assets.domain.importance import Importance
from mlops_assets.domain.intervals import SliceQuality

# Of a part as many metrics as fit beside each other.
SLICE_METRICS = {"regression": ("mae", "r2"), "binary": ("log_loss", "roc_auc", "recall")}


def quality(facts: VersionFacts, pictures: Mapping[str, str]) -> tuple[Block, ...]:
    """Metrics with intervals, beside a guess that needs no model."""
    deciding = facts.primary_metric
    rows = tuple(
        (
            metric_name(name) + (" (decides)" if name == deciding else ""),
            number(one.mean),
            f"{number(one.lower)} to {number(one.upper)}",
            number(facts.guess[name]) if name in facts.guess else "",
            MEANINGS.get(name, ""),
        )
        for name, one in sorted(facts.metrics.items(), key=lambda item: item[0] != deciding)
    )
    what = "the median label" if facts.task == "regression" else "the shares of the classes"
    return (
        Table(("metric", "value", "95% interval", "constant guess", "meaning"), rows),
        Paragraph(
            f"The constant guess always says {what} of the training rows. Intervals are "
            "bootstrap intervals over rows; they say nothing of how the world may change."
        ),
        *_classes(facts),
        *_quantiles(facts),
        *_pictures(pictures, "confusion_matrix", "roc", "predicted_against_actual"),
    )


def _classes(facts: VersionFacts) -> tuple[Block, ...]:
    """Class by class, where there are more than two: an average hides the rare ones."""
    if facts.task != "multiclass" or not facts.classes:
        return ()
    rows = tuple(
        (
            one.name,
            f"{one.rows:,}",
            f"{one.share:.1%}",
            f"{one.told:.1%}",
            number(one.precision),
            number(one.recall),
            number(one.f1),
            "" if one.log_loss is None else number(one.log_loss),
        )
        for one in facts.classes
    )
    head = ("class", "rows", "share", "told", "precision", "recall", "F1", "log loss")
    return (
        Table(head, rows),
        Paragraph(
            "Told is the mean probability of the class, which should be near its share. Precision, "
            "recall and F1 are those of the class against all others."
        ),
    )


def _quantiles(facts: VersionFacts) -> tuple[Block, ...]:
    if not facts.quantiles:
        return ()
    rows = tuple(
        (f"{one.quantile:g}", number(one.loss), number(one.guess)) for one in facts.quantiles
    )
    return (
        Table(("quantile", "pinball loss", "constant guess"), rows),
        Paragraph(
            "The pinball loss is least where the predictions are that quantile of the label; the "
            "constant guess always says the training rows' quantile."
        ),
    )


def slices(facts: VersionFacts) -> tuple[Block, ...]:
    """Quality of parts of the rows."""
    if not facts.slices:
        return (
            Paragraph(
                "No part of the data was looked at alone: name columns in monitoring.slices or "
                "gates.slices."
            ),
        )
    wanted = SLICE_METRICS.get(facts.task, ("log_loss", "accuracy"))
    poor = poor_slices(facts)
    rows = tuple(
        (
            f"{one.column} = {one.value}",
            f"{one.rows:,}",
            *(_slice_metric(one, name) for name in wanted),
            "worse than on average" if one in poor else "",
        )
        for one in facts.slices
    )
    head = ("part", "rows", *(metric_name(name) for name in wanted), "")
    how = "declared in defs.yaml" if facts.slices_declared else "of every category of few values"
    return (
        Table(head, rows),
        Paragraph(
            f"The parts are {how}. One is called worse than on average when the whole interval "
            f"of its {metric_name(facts.loss_name)} is above that of all rows; of 40 parts that do "
            "not differ, one is called so by chance."
        ),
    )


def _slice_metric(one: SliceQuality, name: str) -> str:
    if not one.judged:
        return f"too few rows (needed {one.min_rows:,})"
    return with_ends(one.metrics[name]) if name in one.metrics else "undefined"


def calibration(facts: VersionFacts, pictures: Mapping[str, str]) -> tuple[Block, ...]:
    """Whether probabilities, or values, are right on average."""
    if facts.task == "regression":
        side = "above" if facts.calibration > 0 else "below"
        text = (
            f"On average the predictions are {number(abs(facts.calibration))} {side} the truth: "
            f"{number(facts.told)} were predicted, and {number(facts.happened)} came, per row of "
            "the holdout."
        )
        return (Paragraph(text), *_pictures(pictures, "residuals"))
    limit = facts.calibration_limit
    text = (
        f"Expected calibration error {number(facts.calibration)}: by so much the probabilities "
        "are off on average, over ten equally full bins of the holdout "
        f"({'no limit is set' if limit is None else f'limit {number(limit)}'}). It gives "
        f"{_told_class(facts)} {facts.told:.1%} on average; {facts.happened:.1%} came true."
    )
    return (Paragraph(text), *_pictures(pictures, "calibration"))


def _told_class(facts: VersionFacts) -> str:
    if facts.task != "binary":
        return "the likeliest class"
    return f"class {facts.classes[1].name}" if len(facts.classes) == 2 else "class 1"


def importance(facts: VersionFacts, pictures: Mapping[str, str]) -> tuple[Block, ...]:
    """How much each input is relied on."""
    loss = facts.metrics[facts.loss_name].mean
    rows = tuple(
        (
            one.column,
            with_ends(one.rise),
            f"{one.rise.mean / loss:+.1%}" if loss else "",
            _reliance(one),
        )
        for one in facts.importances
    )
    return (
        Table(("input", f"{metric_name(facts.loss_name)} rises by", "of the loss", ""), rows),
        Paragraph(
            "By permutation on the holdout: an input's values are shuffled among the rows. Inputs "
            "that say the same share their importance. It says what the model uses, not what "
            "causes the outcome."
        ),
        *_pictures(pictures, "importance"),
    )


def _reliance(one: Importance) -> str:
    if one.matters:
        return ""
    return "no help: the loss falls" if one.rise.upper < 0 else "may be chance"


def gates(facts: VersionFacts) -> tuple[Block, ...]:
    """What the gates said."""
    rows = tuple(
        (one.gate.replace("_", " "), "passed" if one.passed else "FAILED", one.reason)
        for one in facts.gates
    )
    against = f"version {facts.judged_against}" if facts.judged_against else "nothing, the first"
    return (
        Table(("gate", "verdict", "why"), rows),
        Paragraph(f"Compared with: {against}. A version that fails a gate cannot be released."),
    )


def _pictures(known: Mapping[str, str], *names: str) -> tuple[Block, ...]:
    return tuple(Picture(name, known[name]) for name in names if name in known)
