import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlops_assets.settings import PROJECT_ROOT
from mlops_assets_tests.deploy import commands
from mlops_assets_tests.deploy.conftest import (
    DEPLOY,
    IMAGES,
    SETTINGS,
    environment_of,
    instructions,
)

REQUIREMENTS = DEPLOY / "docker" / "serving-requirements.txt"
both = pytest.mark.parametrize("name", sorted(IMAGES))


@both
def test_hadolint_has_nothing_to_say(name: str):
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, IMAGES[name]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_something(tmp_path: Path):
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp && sudo pip install ray\n")
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, bad], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DL3007" in done.stdout


@both
def test_every_copied_path_is_there_and_gets_past_dockerignore(name: str):
    let_in = [
        line[1:]
        for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        source
        for instruction, rest in instructions(IMAGES[name])
        if instruction == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    ]
    assert len(copied) >= 5
    for source in copied:
        assert (PROJECT_ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in let_in), source


def test_dockerignore_keeps_everything_else_out():
    lines = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    assert not any("secrets" in one or one in (".git", "deploy", ".mlops") for one in let_in)


@both
def test_an_image_is_pinned_and_runs_as_nobody_in_particular(name: str):
    found = instructions(IMAGES[name])
    version = next(rest for instruction, rest in found if instruction == "ARG")
    assert re.fullmatch(r"PYTHON=3\.11\.\d+-slim-bookworm", version)
    assert {rest.split()[0] for i, rest in found if i == "FROM"} == {"python:${PYTHON}"}
    assert [rest for i, rest in found if i == "USER"] == ["10001:10001"]
    installs = [rest for i, rest in found if i == "RUN" and re.search(r"\bpip .*install", rest)]
    assert len(installs) == 1
    assert "-c" in installs[0].split()
    assert "constraints.txt" in installs[0]
    # The last stage gets packages from the first one, and no tool to make them.
    last = max(index for index, (i, _) in enumerate(found) if i == "FROM")
    assert not any("pip" in rest for i, rest in found[last:] if i == "RUN")


@both
def test_code_is_compiled_in_the_image_where_nothing_can_be_compiled_later(name: str):
    assert environment_of(IMAGES[name])["PYTHONDONTWRITEBYTECODE"] == "1"
    runs = [rest for i, rest in instructions(IMAGES[name]) if i == "RUN" and "compileall" in rest]
    compiled = {word for rest in runs for word in rest.split() if word.startswith("/")}
    assert {"/opt/venv/lib", "/app", "/usr/local/lib/python3.11"} <= compiled


@both
def test_the_modules_in_cython_are_built_with_a_compiler_that_stays_behind(name: str):
    found = instructions(IMAGES[name])
    last = max(index for index, (i, _) in enumerate(found) if i == "FROM")
    with_compiler = [i for i, (_, rest) in enumerate(found) if "gcc" in rest.split()]
    built = [i for i, (_, rest) in enumerate(found) if "cythonize" in rest or "--editable" in rest]
    assert with_compiler[0] < built[0] < last
    assert all(index < last for index in with_compiler)


@both
def test_the_code_can_be_read_by_the_images_user_whatever_the_builders_umask(name: str):
    """A clone under umask 077 has files for its owner only, and COPY keeps their modes."""
    found = instructions(IMAGES[name])
    last = max(index for index, (i, _) in enumerate(found) if i == "FROM")
    opened = [i for i, (_, rest) in enumerate(found) if "chmod -R u=rwX,go=rX /app" in rest]
    assert opened
    for index, (instruction, rest) in enumerate(found):
        if instruction == "COPY":
            assert index < opened[0] if index < last else rest.startswith("--from=build ")


@both
def test_every_setting_of_an_image_exists(name: str):
    ours = {name for name in environment_of(IMAGES[name]) if name.startswith("MLOPS_")}
    assert ours
    assert ours <= SETTINGS


@both
def test_no_secret_is_in_a_layer(name: str):
    words = [rest for i, rest in instructions(IMAGES[name]) if i in ("ARG", "ENV", "COPY", "RUN")]
    assert not re.search(r"(?i)password|secret|token", " ".join(words))


@both
def test_commands_and_healthchecks_of_an_image_are_the_codes(name: str):
    found = dict(instructions(IMAGES[name]))
    commands.check(yaml.safe_load(found["CMD"]))
    commands.check(yaml.safe_load(found["HEALTHCHECK"].partition("CMD ")[2]))


def test_the_endpoint_listens_where_the_image_says():
    found, environment = dict(instructions(IMAGES["serving"])), environment_of(IMAGES["serving"])
    assert found["EXPOSE"] == environment["MLOPS_SERVE_PORT"] == "8000"
    assert environment["MLOPS_SERVE_HOST"] == "0.0.0.0"
    assert "/health" in found["HEALTHCHECK"]


def test_names_of_requirements_have_a_version_in_the_constraints():
    pinned = {
        canonicalize_name(line.split("==")[0])
        for line in (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {canonicalize_name(one.name) for one in serving_requirements()} <= pinned


def test_the_serving_image_has_all_that_serving_imports_and_not_dagster():
    """Follows every import of serving, also the late ones, through the project's own modules."""
    provided = closure(serving_requirements())
    assert not {"dagster", "evidently", "mlflow", "matplotlib"} & provided
    distributions = packages_distributions()
    needed = third_party_imports("serving.__main__", "serving.sidecar", "serving.cluster")
    assert {"ray", "mlflow", "onnxruntime"} <= needed
    missing = {
        module
        for module in needed
        if not {canonicalize_name(one) for one in distributions.get(module, ())} & provided
    }
    assert not missing


def serving_requirements() -> list[Requirement]:
    lines = REQUIREMENTS.read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def closure(wanted: list[Requirement]) -> set[str]:
    """Names of these distributions and of all that they need here."""
    found: set[str] = set()
    todo = [(one.name, frozenset(one.extras)) for one in wanted]
    done: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in done:
            continue
        done.add((name, extras))
        found.add(canonicalize_name(name))
        for text in distribution(name).requires or ():
            need = Requirement(text)
            where = [{"extra": extra} for extra in ("", *extras)]
            if need.marker is None or any(need.marker.evaluate(one) for one in where):
                todo.append((need.name, frozenset(need.extras)))
    return found


def third_party_imports(*starts: str) -> set[str]:
    """Top-level modules that these modules import, or modules of ours that they import."""
    todo, seen, found = list(starts), set[str](), set[str]()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports(module):
            top = name.partition(".")[0]
            if top in ("mlops_assets", "serving"):
                todo.append(name)
            elif top not in sys.stdlib_module_names:
                found.add(top)
    return found


def imports(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file_of(module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if file_of(name).exists()}
    return found


def file_of(module: str) -> Path:
    path = PROJECT_ROOT.joinpath(*module.split("."))
    if path.is_dir():
        return path / "__init__.py"
    # Of a compiled module there are the types.
    return next((one for end in (".py", ".pyi") if (one := path.with_suffix(end)).exists()), path)


@pytest.mark.skipif(shutil.which("install") is None, reason="needs coreutils")
def test_the_copy_of_a_token_is_for_its_owner_only(tmp_path: Path):
    """What the manifests' init container does, since a Secret's file can be read by its group."""
    source, target = tmp_path / "token", tmp_path / "serve_token"
    source.write_text("0123456789abcdef0123456789abcdef")
    source.chmod(0o440)
    subprocess.run(["install", "-m", "0600", source, target], check=True)
    assert target.stat().st_mode & 0o777 == 0o600
