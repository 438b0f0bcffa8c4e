"""What a spec's functions of features.py are when the spec is read."""

import ast
import hashlib
from pathlib import Path

from mlops_assets.domain.errors import PastFunctionError
from mlops_assets.spec import ModelSpec
from mlops_assets.spec.problem import Problem
from mlops_assets.stores.history_functions import FILE, source_of

ARGUMENTS = "times, values, at"


def with_digests(spec: ModelSpec, folder: Path) -> tuple[ModelSpec, tuple[Problem, ...]]:
    """The spec with what features.py is now, and what is wrong with the functions it names.

    The file is read and parsed, not run.
    """
    if not any(rule.function for rule in spec.history):
        return spec, ()
    try:
        source = source_of(folder)
        known = {
            one.name: one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef)
        }
    except PastFunctionError as error:
        return spec, (_problem(spec, str(error)),)
    except (SyntaxError, ValueError) as error:
        return spec, (_problem(spec, f"{FILE} cannot be read as Python: {error}"),)
    problems = [
        Problem(("history", place, "function"), message)
        for place, rule in enumerate(spec.history)
        if rule.function and (message := _mistake(rule.function, known.get(rule.function)))
    ]
    digest = hashlib.sha256(source).hexdigest()
    history = tuple(
        rule.model_copy(update={"digest": digest}) if rule.function else rule
        for rule in spec.history
    )
    return spec.model_copy(update={"history": history}), tuple(problems)


def _problem(spec: ModelSpec, message: str) -> Problem:
    place = next(place for place, rule in enumerate(spec.history) if rule.function)
    return Problem(("history", place, "function"), message)


def _mistake(name: str, found: ast.FunctionDef | None) -> str:
    if found is None:
        return f"{FILE} has no function {name!r}: write `def {name}({ARGUMENTS})` there"
    takes = len(found.args.posonlyargs) + len(found.args.args)
    if takes != 3 and not found.args.vararg:
        return f"{name}() takes {takes} arguments: write `def {name}({ARGUMENTS})`"
    return ""
