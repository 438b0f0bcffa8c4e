from pathlib import Path

import pytest

from mlops_assets.spec import ModelSpec
from mlops_assets.stores.files import sha256_of
from mlops_assets.stores.function_digests import with_digests
from mlops_assets_tests.regulars import add_functions, regular_spec


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec.model_validate(regular_spec())


def test_rules_with_a_function_get_the_digest_of_its_file(spec: ModelSpec, tmp_path: Path):
    path = add_functions(tmp_path)
    found, problems = with_digests(spec, tmp_path)
    assert problems == ()
    digests = {rule.name: rule.digest for rule in found.history}
    assert digests.pop("fading") == sha256_of(path)
    assert set(digests.values()) == {""}
    assert found.content_hash() != spec.content_hash()
    path.write_text(path.read_text() + "\n")
    assert with_digests(spec, tmp_path)[0].content_hash() != found.content_hash()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "there is no features.py"),
        ("def other(times, values, at): ...", "no function 'fading_hours': write `def fading"),
        ("def fading_hours(events): ...", "takes 1 arguments: write `def fading_hours(times"),
        ("def fading_hours(", "cannot be read as Python"),
        ("raise SystemExit\ndef fading_hours(*all): ...", ""),
    ],
)
def test_a_function_that_is_not_there_is_a_mistake_of_its_rule(
    spec: ModelSpec, tmp_path: Path, code: str | None, words: str
):
    if code is not None:
        (tmp_path / "features.py").write_text(code)
    _, problems = with_digests(spec, tmp_path)
    assert len(problems) == bool(words)
    for problem in problems:
        place = [rule.name for rule in spec.history].index("fading")
        assert problem.place == ("history", place, "function")
        assert words in problem.message


def test_a_spec_without_functions_needs_no_file(tmp_path: Path):
    plain = ModelSpec.model_validate(regular_spec(history=regular_spec()["history"][:2]))
    assert with_digests(plain, tmp_path) == (plain, ())
