import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOMAIN = """
import importlib, pkgutil, sys
import mlops_assets.domain as domain
names = [found.name for found in pkgutil.iter_modules(domain.__path__)]
for name in names:
    importlib.import_module(f"mlops_assets.domain.{name}")
print(len(names))
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )


def test_imports_follow_the_layers():
    found = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert found.returncode == 0, found.stdout
    assert "0 broken" in found.stdout


def test_the_domain_leaves_its_callers_tools_out_of_the_process():
    found = run(sys.executable, "-c", DOMAIN)
    assert found.returncode == 0, found.stderr
    count, loaded = found.stdout.splitlines()
    assert int(count) == len(list((ROOT / "mlops_assets" / "domain").glob("[a-z]*.py"))) > 10
    foreign = {"dagster", "mlflow", "ray", "evidently", "deltalake", "sqlalchemy", "pydantic"}
    assert not foreign & set(loaded.split())
