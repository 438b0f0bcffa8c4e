import subprocess
import sys

OURS = "import serving.app, serving.http, serving.models, serving.bodies"
HEAVY = ("mlflow", "dagster", "evidently", "sklearn", "skops", "onnx", "deltalake")


def imported(statement: str, names: tuple[str, ...]) -> list[str]:
    code = f"import sys\n{statement}\nprint(*[m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_our_part_of_a_replica_imports_no_heavy_library():
    assert imported(OURS, (*HEAVY, "pandas", "pyarrow", "ray")) == []


def test_a_whole_replica_imports_no_heavy_library():
    # Ray itself imports pandas, and pandas pyarrow, wherever they are installed.
    assert imported(f"import ray.serve._private.replica\n{OURS}", HEAVY) == []
