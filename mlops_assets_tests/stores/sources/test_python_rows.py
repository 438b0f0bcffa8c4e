from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import PythonSource
from mlops_assets.stores.sources import column_names, newest, read
from mlops_assets_tests.stores.sources.samples import DAY, FUNCTION, HOUR, python


def source(folder: Path, code: str, **options: str) -> PythonSource:
    (folder / "features.py").write_text(code)
    return PythonSource(kind="python", **options)


HEAD = "import pandas as pd\nimport pyarrow as pa\n"
FRAME = 'pd.DataFrame({"at": pd.to_datetime(["2024-01-01"], utc=True), "n": [1]})'


def ask(found: PythonSource, folder: Path, hours: int = 24) -> pa.Table:
    end = DAY + hours * HOUR
    return read(found, folder, columns=("at", "n"), event_time="at", start=DAY, end=end)


def test_a_function_is_asked_for_the_period_alone(tmp_path: Path):
    code = (
        "import pandas as pd\n"
        "def rows(start, end):\n"
        '    at = pd.date_range(start, end, freq="h", inclusive="left")\n'
        '    return pd.DataFrame({"at": at, "n": range(len(at))})\n'
    )
    assert ask(source(tmp_path, code), tmp_path, 5)["n"].to_pylist() == [0, 1, 2, 3, 4]
    assert column_names(source(tmp_path, code), tmp_path) == ("at", "n")


def test_the_newest_row_is_asked_for_or_looked_for(tmp_path: Path):
    found = python(tmp_path)
    later = DAY + timedelta(days=700)
    assert newest(found, tmp_path, event_time="at", until=later) == DAY + 24 * HOUR
    assert newest(found, tmp_path, event_time="at", until=DAY) is None
    told = source(tmp_path, FUNCTION + "\n\ndef newest(until):\n    return until\n")
    assert newest(told, tmp_path, event_time="at", until=DAY) == DAY


def test_another_file_and_function_may_be_named(tmp_path: Path):
    (tmp_path / "shop.py").write_text(HEAD + f"def orders(start, end):\n    return {FRAME}\n")
    named = PythonSource(kind="python", file="shop.py", function="orders")
    assert ask(named, tmp_path)["n"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("raise ConnectionError('no route')", SourceAwayError, "does not reach .*no route"),
        ("raise TimeoutError('30 s')", SourceAwayError, "does not reach its data: TimeoutError"),
        (
            "return {}['x']",
            SourceError,
            r"rows\(\) in .*features\.py fails in line \d+ with KeyError: 'x'",
        ),
        ("return [1]", SourceError, "returns list: return a pandas DataFrame"),
        ("return pd.DataFrame()", SourceError, "has no column 'at'"),
        (f"return {FRAME}.drop(columns='n')", SourceError, "has no column 'n'"),
        (f"return {FRAME}.assign(n=[['a', 1]])", SourceError, "mixed types: .*column n"),
        (f"return {FRAME}.assign(at='x')", SourceError, "'at' as string, not as times"),
        (
            f"return {FRAME}.assign(at=pd.Timestamp('2024-01-02', tz='UTC'))",
            SourceError,
            "returns 1 rows outside, such as 2024-01-02",
        ),
    ],
)
def test_what_a_function_does_wrong_is_told(
    body: str, error: type[SourceError], words: str, tmp_path: Path
):
    code = f"{HEAD}def rows(start, end):\n    {body}\n"
    with pytest.raises(error, match=words) as found:
        ask(source(tmp_path, code), tmp_path)
    assert type(found.value) is error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def rows(:\n", "fails with SyntaxError"),
        ("\nimport nosuch\n", "fails in line 2 with ModuleNotFoundError"),
        ("rows = 1\n", "has no function 'rows'"),
    ],
)
def test_a_file_without_the_function_is_told(code: str, words: str, tmp_path: Path):
    with pytest.raises(SourceError, match=words):
        ask(source(tmp_path, code), tmp_path)
    (tmp_path / "features.py").unlink()
    with pytest.raises(SourceError, match=r"'features\.py' is not there"):
        ask(PythonSource(kind="python"), tmp_path)


def test_the_newest_row_must_be_a_time(tmp_path: Path):
    found = source(tmp_path, "def newest(until):\n    return 'now'\n")
    with pytest.raises(SourceError, match="returns 'now': return a datetime or None"):
        newest(found, tmp_path, event_time="at", until=DAY)
