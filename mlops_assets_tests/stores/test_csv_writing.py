from pathlib import Path

import pytest

from mlops_assets.stores.csv_writing import as_written, formats_of
from mlops_assets.stores.new_source import NewSource, new_source


def made(folder: Path, text: str, **said: str) -> NewSource:
    (folder / "rows.csv").write_text(text)
    path = str(folder / "rows.csv")
    new = new_source(path, table="", model="m", folder=folder / "m", csv=said)
    return as_written(new, folder)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("at;price\n2024-01-01;1,5\n", {"delimiter": ";", "decimal": ","}),
        ("at;price\n2024-01-01;1.5\n", {"delimiter": ";"}),
        ("at\tprice\n2024-01-01\t7\n", {"delimiter": "\t"}),
        ('at,price\n2024-01-01,"1,5"\n', {"decimal": ","}),
        ("at,price\n2024-01-01,1.5\n", {}),
        ("at,a;b\n2024-01-01,1\n", {}),
        ("alone\n1\n", {}),
        ("", {}),
    ],
)
def test_delimiter_and_decimal_comma_are_seen(text: str, found: dict[str, str], tmp_path: Path):
    new = made(tmp_path, text)
    assert {key: new.keys[key] for key in new.keys if key not in ("kind", "path")} == found
    assert new.source.model_dump(include=set(found)) == found


def test_what_the_user_says_stays(tmp_path: Path):
    new = made(tmp_path, "at;price\n2024-01-01;1,5\n", delimiter=",", decimal=".")
    assert (new.keys["delimiter"], new.keys["decimal"]) == (",", ".")


def test_the_formats_of_a_column_come_with_an_example(tmp_path: Path):
    source = made(tmp_path, "at,price\n,1\n 31.12.2024,2\n").source
    assert formats_of(source, tmp_path, "at") == ("31.12.2024", ("%d.%m.%Y",))  # type: ignore[arg-type]
    assert formats_of(source, tmp_path, "other") == ("", ())  # type: ignore[arg-type]
