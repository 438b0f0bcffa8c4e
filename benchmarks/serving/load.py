"""The load tool: wrk, with one thread, over bodies that were written to a folder."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.serving.cells import Window

SCRIPT = Path(__file__).with_name("load.lua")
MARK = "RESULT "
# Slow servers need it: at 64 clients a forest answers in seconds.
TIMEOUT_SECONDS = 120


class LoadError(Exception):
    """The load tool is missing, failed, or said what we don't understand."""


def require_wrk() -> str:
    """Path of wrk; raises LoadError saying how to get it."""
    found = shutil.which("wrk")
    if not found:
        raise LoadError(
            "wrk is not installed: apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)."
        )
    return found


def write_bodies(folder: Path, headers: Mapping[str, str], bodies: Sequence[bytes]) -> None:
    """Lay out one kind of request as load.lua reads it."""
    folder.mkdir(parents=True)
    lines = "".join(f"{name}: {value}\n" for name, value in headers.items())
    (folder / "headers.txt").write_text(lines)
    for number, body in enumerate(bodies):
        (folder / f"{number}.body").write_bytes(body)


def drive(url: str, bodies: Path, concurrency: int, seconds: float) -> Window:
    """One window of load; raises LoadError when wrk fails."""
    command = [
        require_wrk(),
        "--threads=1",
        f"--connections={concurrency}",
        f"--duration={max(1, round(seconds))}s",
        f"--timeout={TIMEOUT_SECONDS}s",
        f"--script={SCRIPT}",
        url,
        "--",
        str(bodies),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"wrk did not end a minute after its {seconds} s") from error
    if done.returncode:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    return parse(done.stdout)


def parse(output: str) -> Window:
    """Read what load.lua printed; answers other than 2xx and broken connections are errors.

    Raises LoadError when there is no such line.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    try:
        said = json.loads(lines[-1].removeprefix(MARK))
        failed = sum(said[kind] for kind in ("status", "connect", "read", "write", "timeout"))
        answered = said["requests"] - said["status"]
        seconds = said["us"] / 1e6
        p50, p99 = (said[key] / 1000 if said["requests"] else None for key in ("p50_us", "p99_us"))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise LoadError(f"wrk did not end as expected: {output[-500:]}") from error
    if seconds <= 0:
        raise LoadError(f"wrk measured no time: {lines[-1]}")
    return Window(seconds, answered, failed, p50, p99)
