"""What release.yml shows its reviewers, as Markdown. Plain Python: the runner has no project.

release_summary.py MODEL FILE                   FILE is what `mlops status MODEL --json` or
                                                `mlops approve MODEL --json` printed
release_summary.py MODEL FILE --version-output  one line for $GITHUB_OUTPUT: version=N

Exits with 1 when the challenger has not passed its gates against the version that serves now:
then there is nothing to review.
"""

import argparse
import html
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def main() -> int:
    """Print the summary; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    parser.add_argument("--version-output", action="store_true")
    arguments = parser.parse_args()
    content = json.loads(arguments.file.read_text())
    if "to_version" in content:
        sys.stdout.write(released(content))
        return 0
    model = next(m for m in content["models"] if m["model"] == arguments.model)
    if not arguments.version_output:
        sys.stdout.write(candidate(model))
    if not model["can_be_released"]:
        why = content.get("registry_error") or "its challenger has not passed its gates"
        sys.stderr.write(f"{arguments.model} cannot be released: {why}.\n")
        return 1
    if arguments.version_output:
        version = model["challenger"]["version"]
        if not re.fullmatch(r"[0-9]+", version):
            raise SystemExit(f"{version!r} is no version.")
        sys.stdout.write(f"version={version}\n")
    return 0


def candidate(model: Mapping[str, Any]) -> str:
    """The challenger beside the champion, and what monitoring says about the champion."""
    roles = ("challenger", "champion", "previous_champion")
    facts = ("version", "gates", "estimator", "judged_against", "created_at", "released_at")
    rows = [[fact, *((model[role] or {}).get(fact, "") for role in roles)] for fact in facts]
    verdict = "may be released" if model["can_be_released"] else "**may not be released**"
    news = [[name, json.dumps(model[name])] for name in ("performance", "drift", "decision")]
    return (
        f"## {_text(model['model'])}: the challenger {verdict}\n\n"
        f"{_table(['', *roles], rows)}\n{_table(['monitoring', 'newest'], news)}\n"
    )


def released(record: Mapping[str, Any]) -> str:
    """A release record with its evidence."""
    facts = ("kind", "id", "from_version", "to_version", "at", "actor", "reason", "moved")
    rows = [[fact, record.get(fact, "")] for fact in facts]
    evidence = sorted(dict(record.get("evidence") or {}).items())
    return (
        f"## {_text(record['model'])}: version {_text(record['to_version'])} is the champion\n\n"
        f"{_table(['release', ''], rows)}\n{_table(['evidence', ''], evidence)}\n"
    )


def _table(header: list[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(_text(cell) for cell in line) + " |\n" for line in lines)


def _text(value: object) -> str:
    """One line that is no markup: reasons quote values of the data."""
    escaped = html.escape(" ".join(str(value).split()))
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)


if __name__ == "__main__":
    sys.exit(main())
