from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mlops_assets.spec import ModelSpec
from mlops_assets.spec.rules import problems
from mlops_assets.spec.source import Source, mistakes, unencrypted

GOOD: list[dict[str, Any]] = [
    {"kind": "parquet", "path": "../rows"},
    {"kind": "parquet", "path": "s3://shop/2024/*.parquet"},
    {"kind": "csv", "path": "rows.csv", "types": {"zip": "text"}, "timeout": "PT5S"},
    {"kind": "sql", "url": "sqlite:///shop.db", "table": "orders"},
    {"kind": "sql", "url": "postgresql://me@host/shop", "table": "orders"},
    {"kind": "sql", "url_env": "SHOP_URL", "table": "orders"},
    {"kind": "duckdb", "query": "SELECT * FROM 's3://shop/a@b.parquet'"},
    {"kind": "delta", "path": "s3://shop/table"},
    {"kind": "python"},
    {"kind": "csv", "path": "https://host/a%20b.csv?version=3&author=me"},
    {"kind": "parquet", "path": "HTTP://host:8080/rows.parquet#part"},
    {"kind": "csv", "path": "https://host/rows?$select=*", "token_env": "SHOP_TOKEN"},
    {"kind": "parquet", "path": "http://127.0.0.1:80/x.parquet", "token_env": "SHOP_TOKEN"},
]
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "sql", "table": "t"}, "url", "either url or url_env"),
    ({"kind": "sql", "url": "sqlite://", "url_env": "X", "table": "t"}, "url", "either"),
    ({"kind": "sql", "url": "postgresql://me:s3cret@h/d", "table": "t"}, "url", "url_env"),
    ({"kind": "sql", "url": "postgresql://h/d?password=s3cret", "table": "t"}, "url", "password"),
    ({"kind": "parquet", "path": "s3://me:s3cret@shop/x"}, "path", "AWS_SECRET_ACCESS_KEY"),
    ({"kind": "csv", "path": "s3://shop/x?secret_key=s3cret"}, "path", "AWS_SECRET_ACCESS_KEY"),
    ({"kind": "csv", "path": "gs://shop/rows.csv"}, "path", "gs:// cannot be read"),
    ({"kind": "csv", "path": "https://me:s3cret@host/rows.csv"}, "path", "holds a key"),
    ({"kind": "csv", "path": "https://s3cret@host/rows.csv"}, "path", "holds a key"),
    ({"kind": "parquet", "path": "https://h/x?X-Amz-Signature=s3cret"}, "path", "holds a key"),
    ({"kind": "parquet", "path": "https://h/x?sv=1&sig=s3cret"}, "path", "holds a key"),
    ({"kind": "csv", "path": "http://h/x.csv", "token_env": "T"}, "token_env", "encryption"),
    ({"kind": "csv", "path": "x.csv", "token_env": "T"}, "token_env", "https address"),
    ({"kind": "csv", "path": "https:///rows.csv"}, "path", "no address"),
    ({"kind": "csv", "path": "https://host:port/rows.csv"}, "path", "no address"),
    ({"kind": "csv", "path": "https://host/2024/*.csv"}, "path", "one file"),
    ({"kind": "duckdb", "query": "FROM 'https://h/x.csv?token=s3cret'"}, "query", "environment"),
    ({"kind": "delta", "path": "https://host/table"}, "path", "cannot be listed"),
    ({"kind": "delta", "path": " "}, "path", "is empty"),
    (
        {"kind": "duckdb", "query": "SELECT * FROM postgres_scan('postgresql://me:s3cret@h/d')"},
        "query",
        "environment",
    ),
]


def source(content: dict[str, Any]) -> Source:
    adapter: TypeAdapter[Source] = TypeAdapter(Source)
    return adapter.validate_python(content)


@pytest.mark.parametrize("content", GOOD, ids=lambda content: content["kind"])
def test_a_good_source_has_no_mistake(content: dict[str, Any]):
    assert list(mistakes(source(content))) == []


@pytest.mark.parametrize(("content", "field", "words"), BAD)
def test_a_mistake_names_its_field_and_keeps_secrets(
    content: dict[str, Any], field: str, words: str
):
    (found,) = mistakes(source(content))
    assert found[0] == field
    assert words in found[1]
    assert "s3cret" not in found[1]


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "csv", "path": "x", "delimiter": "||"},
        {"kind": "csv", "path": "x", "types": {"zip": "varchar"}},
        {"kind": "parquet", "path": "x", "timeout": 0},
        {"kind": "python", "function": "os.system"},
        {"kind": "excel", "path": "x"},
    ],
)
def test_what_no_source_may_say_is_refused(content: dict[str, Any]):
    with pytest.raises(ValidationError):
        source(content)


PLAIN: list[tuple[dict[str, Any], str]] = [
    ({"kind": "csv", "path": "http://host:8080/x.csv"}, "path: http://host:8080"),
    ({"kind": "duckdb", "query": "FROM 'https://a/x' JOIN 'http://b/x.csv'"}, "query: http://b"),
    ({"kind": "csv", "path": "https://host/x.csv"}, ""),
    ({"kind": "parquet", "path": "http://127.0.0.1:8000/x"}, ""),
    ({"kind": "parquet", "path": "http://localhost/x"}, ""),
    ({"kind": "parquet", "path": "http/x"}, ""),
    ({"kind": "sql", "url": "sqlite://", "table": "t"}, ""),
]


@pytest.mark.parametrize(("content", "told"), PLAIN)
def test_a_way_that_others_may_read_along_is_told(content: dict[str, Any], told: str):
    found = unencrypted(source(content))
    field, message = found or ("", "")
    assert bool(found) == bool(told)
    assert f"{field}: {message}".replace("what comes from ", "").startswith(told)


def spec(content: dict[str, Any], **changes: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "task": "binary",
            "source": content,
            "entity": "id",
            "event_time": "at",
            "label": {"column": "late"},
            "period": {"start": "2024-01-01"},
            "columns": {"a": "number", "zip": "category", "code": "category"},
            **changes,
        }
    )


def test_the_rules_of_a_spec_hold_for_its_source():
    (found,) = problems(spec({"kind": "parquet", "path": "gs://shop/x"}))
    assert found.place == ("source", "path")


def test_names_in_a_csv_file_are_text_unless_stated():
    content = {"kind": "csv", "path": "x", "types": {"code": "integer"}}
    assert spec(content).source.types == {"id": "text", "zip": "text", "code": "integer"}  # type: ignore[union-attr]
    moments = spec(content, entity="at")
    assert "at" not in moments.source.types  # type: ignore[union-attr]
