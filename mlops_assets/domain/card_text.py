"""How cards word numbers, periods and what is not known."""

from mlops_assets.domain.card import Part, VersionFacts
from mlops_assets.domain.document import Block, Bullets, Paragraph
from mlops_assets.domain.evaluation import Interval

NAMES = {
    "log_loss": "log loss",
    "roc_auc": "area under the ROC curve",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R² (explained variance)",
    "brier": "Brier score",
    "f1": "F1",
}
MEANINGS = {
    "log_loss": "how surprised the model is by the truth; 0 is perfect",
    "brier": "mean squared error of the probability; 0 is perfect",
    "accuracy": "share of rows whose likeliest class is the true one",
    "precision": "of the rows predicted as the class, the share that are",
    "recall": "of the rows of the class, the share predicted as such",
    "f1": "harmonic mean of precision and recall",
    "roc_auc": "chance that a row of the class is ranked above another; 0.5 is no skill",
    "mae": "how far off a prediction is on average, in units of the label",
    "rmse": "the same with large errors counting more",
    "r2": "share of the label's variance that is explained; 0 is no skill",
}


def metric_name(name: str) -> str:
    """A metric as people say it."""
    return NAMES.get(name, name.replace("pinball_", "pinball loss at quantile ").replace("_", " "))


def number(value: float) -> str:
    """Three or four digits that count, as people write them; years have no comma."""
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.4g}"


def with_ends(interval: Interval) -> str:
    """A value with its interval."""
    return f"{number(interval.mean)} ({number(interval.lower)} to {number(interval.upper)})"


def span(part: Part) -> str:
    """From the first to the last period."""
    return part.first if part.first == part.last else f"{part.first} to {part.last}"


def first_part(reason: str) -> str:
    """A reason up to its first semicolon, where the rest is told elsewhere."""
    return reason.partition(";")[0]


def count(number_of: int, what: str) -> str:
    """So many of something, in the singular for one."""
    return f"{number_of:,} {what}{'' if number_of == 1 else 's'}"


def sentence(text: str) -> str:
    """Text that ends as a sentence does."""
    stripped = text.strip()
    return stripped if not stripped or stripped[-1] in ".!?…" else f"{stripped}."


def written(items: tuple[str, ...], place: str) -> Block:
    """What people wrote, or where to write it."""
    if items and all(items):
        return Bullets(items) if len(items) > 1 else Paragraph(sentence(items[0]))
    return Paragraph(f"Not filled in ({place} in defs.yaml).")


def gates_in_short(facts: VersionFacts) -> str:
    """Whether the version may serve by what its gates said."""
    failed = [gate for gate in facts.gates if not gate.passed]
    if not failed:
        return f"Passed all {len(facts.gates)} release gates."
    names = ", ".join(gate.gate for gate in failed)
    return f"Failed {len(failed)} of {len(facts.gates)} release gates ({names}): not to be released"
