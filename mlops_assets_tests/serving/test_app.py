import subprocess
import sys

from starlette.requests import Request

from serving.app import read_body
from serving.http import MAX_BODY_BYTES

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


async def _read(chunks: list[bytes]) -> bytes | None:
    messages = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    return await read_body(Request({"type": "http"}, receive))


def test_a_body_is_put_together_from_its_chunks():
    import asyncio

    assert asyncio.run(_read([b"a", b"b", b""])) == b"ab"


def test_reading_stops_at_the_limit():
    import asyncio

    endless = [b"x" * (MAX_BODY_BYTES // 2)] * 4
    assert asyncio.run(_read(endless)) is None
    assert asyncio.run(_read([b"x" * MAX_BODY_BYTES])) is not None
