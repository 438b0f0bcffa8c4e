"""A draft as the commented text of a defs.yaml."""

import json
import re
from collections.abc import Mapping

from mlops_assets.domain.draft_columns import DraftColumn
from mlops_assets.domain.drafting import Draft

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*( [A-Za-z0-9_]+)*")
# What YAML reads as something else than text.
WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))
CANDIDATES = {
    "binary": ("logistic_regression", "{C: [0.1, 1.0]}"),
    "multiclass": ("logistic_regression", "{C: [0.1, 1.0]}"),
    "regression": ("ridge", "{alpha: [1.0]}"),
}

BOOSTING = {
    "multiclass": [
        "        # Each step fits a tree for every class, so there are fewer and larger steps.",
        "        params: {max_iter: 40, max_leaf_nodes: 15}",
        "        grid: [{learning_rate: [0.1, 0.2]}]",
    ]
}


def render(drafted: Draft, source: Mapping[str, str], origin: str) -> str:
    """The text of the file; `source` are the keys of its source, `origin` what it was made from."""
    asked = drafted.asked
    label = {"column": asked.label}
    if asked.above is not None:
        label["above"] = f"{asked.above:g}"
    if drafted.known_at:
        label["known_at"] = drafted.known_at
    elif asked.known_after:
        label["known_after"] = drafted.choice("label.known_after").chosen
    period = {"every": drafted.every, "start": f"{drafted.start}"}
    if drafted.end:
        period["end"] = f"{drafted.end}"
    numbers = {"above", "start", "end", "known_after"}
    about = "label.known_at" if drafted.known_at else "label.known_after"
    lines = [
        f"# Drafted by `mlops new` from {_comment(origin)}. It is yours now: read it, correct it,",
        "# and run `mlops check` after every change.",
        "type: mlops_assets.components.TabularModel",
        "",
        "attributes:",
        _said(f"task: {drafted.task}", drafted.choice("task").reason),
        '  description: ""  # what is the model for?',
        "  # owner: team:name  # who answers for it: an e-mail address, or team:name",
        f"  source: {_flow(source)}",
        _said(f"entity: {scalar(drafted.entity)}", drafted.choice("entity").reason),
        f"  event_time: {scalar(asked.event_time)}",
        f"  # {_comment(asked.label)}: {_comment(drafted.choice('label').reason)}",
        f"  # {about.partition('.')[2]}: {_comment(drafted.choice(about).reason)}",
        f"  label: {_flow(label, numbers)}",
        f"  # {_comment(drafted.choice('period.every').reason)}",
        f"  period: {_flow(period, numbers)}",
        "  columns:",
        *(_column(column) for column in drafted.columns if column.kept),
    ]
    left_out = [column for column in drafted.columns if not column.kept]
    if left_out:
        lines += [
            "    # Left out; take the # away from what was known at the event and may help.",
            *(_column(column, prefix="# ") for column in left_out),
        ]
    return "\n".join([*lines, *_rest(drafted), ""])


def scalar(text: str) -> str:
    """Text as YAML reads it back."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _rest(drafted: Draft) -> list[str]:
    estimator, grid = CANDIDATES[drafted.task]
    (metric, limit), *_ = drafted.minimum.items()
    always = "mean gets" if metric == "r2" else "shares gets in the worst tenth of the history"
    return [
        "  validation:",
        f"    min_rows: {max(1, drafted.history.typical // 4)}  # a quarter of a typical period",
        "  training:",
        "    window: {min: 4}",
        "    validation: 2",
        "    holdout: 2",
        "    candidates:",
        f"      - estimator: {estimator}",
        f"        grid: [{grid}]",
        "      - estimator: hist_gradient_boosting",
        *BOOSTING.get(drafted.task, ["        grid: [{learning_rate: [0.05, 0.1]}]"]),
        "  gates:",
        f"    minimum: {{{metric}: {limit:g}}}  # what always answering the {always}",
        "  monitoring:",
        f"    wait: P{drafted.days_until_judged}D"
        "  # after a period's end, until its labels are judged",
        f"    min_rows: {drafted.min_rows}",
    ]


def _column(column: DraftColumn, prefix: str = "") -> str:
    keys: dict[str, str] = {"type": column.type}
    if column.nullable:
        keys["nullable"] = "true"
    if column.min is not None:
        keys["min"] = _number(column.min)
    if column.max is not None:
        keys["max"] = _number(column.max)
    if column.categories:
        keys["categories"] = f"[{', '.join(map(scalar, column.categories))}]"
    short = keys["type"] + ("?" if column.nullable else "")
    bare = set(keys) <= {"type", "nullable"}
    value = short if bare else "{" + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}"
    why = f"left out: {column.reason}" if not column.kept else column.reason
    comment = f"  # {_comment(why)}" if why else ""
    return f"    {prefix}{scalar(column.name)}: {value}{comment}"


def _said(text: str, reason: str) -> str:
    return f"  {text}  # {_comment(reason)}"


def _flow(keys: Mapping[str, str], verbatim: "frozenset[str] | set[str]" = frozenset()) -> str:
    parts = [f"{k}: {v if k in verbatim else scalar(v)}" for k, v in keys.items()]
    return "{" + ", ".join(parts) + "}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)


def _comment(text: str) -> str:
    """Text that stays in its comment: names and values of the data may hold line breaks."""
    return "".join(c if c.isprintable() else " " for c in text)
