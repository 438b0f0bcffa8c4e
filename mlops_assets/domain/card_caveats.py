"""What a reader of a card should be warned of, found in the facts themselves."""

from mlops_assets.domain.card import VersionFacts
from mlops_assets.domain.card_text import count, metric_name, number, span
from mlops_assets.domain.evaluation import LOWER_IS_BETTER
from mlops_assets.domain.intervals import SliceQuality

YEAR = 365
MANY_MISSING = 0.2
# An expected calibration error of a perfect model on few rows reaches this by chance.
CALIBRATION_NOISE = 0.25


def caveats(facts: VersionFacts) -> tuple[str, ...]:
    """One sentence per warning, and one on what holds for every version."""
    return (
        *_history(facts),
        *_skill(facts),
        *_parts(facts),
        *_inputs(facts),
        *_serving(facts),
        f"What came after {facts.known_until[:10]} is not in this evaluation; the section on "
        "the time since the release shows it, as far as labels are known.",
    )


def poor_slices(facts: VersionFacts) -> tuple[SliceQuality, ...]:
    """Parts whose loss is surely above that of all rows, the worst first."""
    overall = facts.metrics[facts.loss_name].mean
    found = [one for one in facts.slices if one.judged and one.metrics["loss"].lower > overall]
    return tuple(sorted(found, key=lambda one: -one.metrics["loss"].mean))


def _history(facts: VersionFacts) -> list[str]:
    if facts.days >= YEAR:
        return []
    return [
        f"The rows it was fitted on span {count(facts.days, 'day')}, less than a year: it has not "
        "seen every season."
    ]


def _skill(facts: VersionFacts) -> list[str]:
    name, holdout = facts.primary_metric, facts.part("holdout")
    found = []
    if name in facts.guess and name in facts.metrics:
        one, guess = facts.metrics[name], facts.guess[name]
        surely = one.upper < guess if name in LOWER_IS_BETTER else one.lower > guess
        if not surely:
            found.append(
                f"It is not surely better than a constant guess: {metric_name(name)} "
                f"{number(one.mean)} against {number(guess)}."
            )
    noise = CALIBRATION_NOISE / (holdout.rows / 10) ** 0.5
    if facts.task != "regression" and facts.calibration > 3 * noise and facts.calibration > 0.05:
        found.append(
            f"Its probabilities are off by {number(facts.calibration)} on average (it says "
            f"{facts.told:.1%}, and {facts.happened:.1%} came true): do not take them at face "
            "value."
        )
    if facts.label_coverage < 0.95:
        found.append(
            f"Only {facts.label_coverage:.1%} of the holdout ({span(holdout)}) had labels; the "
            "others may have turned out differently."
        )
    return found


def _parts(facts: VersionFacts) -> list[str]:
    poor = poor_slices(facts)
    found = []
    if poor:
        told = ", ".join(
            f"{one.column} = {one.value} ({number(one.metrics['loss'].mean)})" for one in poor[:5]
        )
        more = f", and {len(poor) - 5} more" if len(poor) > 5 else ""
        overall = number(facts.metrics[facts.loss_name].mean)
        found.append(
            f"Its {metric_name(facts.loss_name)} is surely above the average of {overall} where "
            f"{told}{more}."
        )
    few = [f"{one.column} = {one.value}" for one in facts.slices if not one.judged]
    if few:
        more = f", and {len(few) - 5} more" if len(few) > 5 else ""
        found.append(f"Too few rows to judge: {', '.join(few[:5])}{more}.")
    return found


def _inputs(facts: VersionFacts) -> list[str]:
    found = []
    if facts.unseen:
        ordered = sorted(facts.unseen.items(), key=lambda item: -item[1])
        told = ", ".join(f"{level} ({share:.1%} of the holdout)" for level, share in ordered[:5])
        more = f", and {len(ordered) - 5} more" if len(ordered) > 5 else ""
        found.append(f"It was never fitted on {told}{more}.")
    sparse = [one for one in facts.columns if one.missing >= MANY_MISSING]
    if sparse:
        told = ", ".join(f"{one.name} ({one.missing:.0%})" for one in sparse)
        found.append(f"Inputs that are often missing: {told}.")
    idle = [one.column for one in facts.importances if not one.matters]
    if idle:
        found.append(
            f"No use could be shown of {', '.join(idle)}: leaving them out may cost nothing."
        )
    return found


def _serving(facts: VersionFacts) -> list[str]:
    return [f"Warning of the training: {facts.warning}"] if facts.warning else []
