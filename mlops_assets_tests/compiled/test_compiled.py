"""Which modules are compiled, and that no body or number makes them touch memory of others."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mlops_assets import compiled

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "mlops_assets" / "compiled"
CHECKS = ["-O0", "-g0", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
BUILD = f"""
from Cython.Build import cythonize
from setuptools import Extension, setup
modules = [
    Extension(f"mlops_assets.compiled.{{name}}", [f"mlops_assets/compiled/{{name}}.pyx"],
              extra_compile_args={CHECKS}, extra_link_args={CHECKS})
    for name in {compiled.MODULES}
]
setup(name="checked", packages=[], py_modules=[], ext_modules=cythonize(modules, quiet=True),
      script_args=["--quiet", "build_ext", "--inplace"])
"""


def library(name: str) -> str:
    """Path of a library of the C compiler's, or "" where it has none."""
    compiler = shutil.which("gcc")
    if compiler is None or importlib.util.find_spec("Cython") is None:
        return ""
    found = subprocess.run(
        [compiler, f"-print-file-name={name}.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return found if Path(found).is_absolute() else ""


def test_every_module_in_cython_is_built_named_and_typed():
    sources = {path.stem for path in FOLDER.glob("*.pyx")}
    assert sources == {path.stem for path in FOLDER.glob("*.pyi")} == {*compiled.MODULES}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extensions = project["tool"]["setuptools"]["ext-modules"]
    assert {one["name"].rpartition(".")[2] for one in extensions} == sources
    # Who has no C compiler gets the project all the same.
    assert all(one["optional"] for one in extensions)


def test_what_was_not_built_is_named_with_what_to_do_about_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "MODULES", ())
    assert (compiled.missing(), compiled.warning()) == ([], "")
    monkeypatch.setattr(compiled, "MODULES", ("slow_module", "slower_module"))
    assert compiled.missing() == ["slow_module", "slower_module"]
    assert compiled.warning().startswith("Not compiled: slow_module, slower_module. ")
    assert "apt-get install gcc python3-dev" in compiled.warning()


@pytest.mark.skipif(
    not (library("libasan") and library("libubsan")),
    reason="gcc, its sanitizers and Cython are needed to check every access to memory",
)
def test_no_access_to_memory_is_outside_of_what_was_given(tmp_path: Path):
    """Built once more so that any such access ends the process, and given thousands of bodies."""
    shutil.copytree(
        ROOT / "mlops_assets",
        tmp_path / "mlops_assets",
        ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__", "*.parquet"),
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    subprocess.run([sys.executable, "-c", BUILD], cwd=tmp_path, env=environment, check=True)
    checked = {
        **environment,
        "LD_PRELOAD": f"{library('libasan')}:{library('libubsan')}",
        "ASAN_OPTIONS": "detect_leaks=0",
        # Python's own allocator would hide what lies outside of an object.
        "PYTHONMALLOC": "malloc",
    }
    script = Path(__file__).with_name("hostile.py")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=checked, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert str(tmp_path) in done.stdout, "the checked modules were used"
