"""Every source that docs/sources.md shows can be written into a defs.yaml."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from mlops_assets.spec.source import PythonSource, Source, mistakes
from mlops_assets.stores.sources import newest, read

TEXT = (Path(__file__).parents[1] / "docs" / "sources.md").read_text()
SHOWN = [yaml.safe_load(text)["source"] for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.S)]


@pytest.mark.parametrize("content", SHOWN, ids=lambda content: content["kind"])
def test_a_source_of_the_documentation_is_right(content: dict[str, Any]):
    adapter: TypeAdapter[Source] = TypeAdapter(Source)
    assert list(mistakes(adapter.validate_python(content))) == []


def test_the_function_of_the_documentation_reads_rows(tmp_path: Path):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    (tmp_path / "features.py").write_text(code)
    days = [f'{{"at": "2024-01-0{day}T12:00:00", "n": {day}}}\n' for day in (1, 2, 3)]
    (tmp_path / "orders.jsonl").write_text("".join(days))
    source = PythonSource(kind="python")
    start, end = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)
    asked = {"columns": ("at", "n"), "event_time": "at"}
    found = read(source, tmp_path, **asked, start=start, end=end)
    assert found["n"].to_pylist() == [2]
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert newest(source, tmp_path, event_time="at", until=start) == noon
    assert newest(source, tmp_path, event_time="at", until=noon) is None


def test_every_kind_is_shown():
    assert {content["kind"] for content in SHOWN} == {
        "parquet",
        "csv",
        "sql",
        "duckdb",
        "delta",
        "python",
    }
