import ctypes
import gc
import sys
from pathlib import Path

import psutil
import pytest

from mlops_assets.domain.errors import BundleError
from serving import memory

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the kernel's control groups."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    (tmp_path / "cgroup" / "memory").mkdir(parents=True)
    return tmp_path / "cgroup"


def limit(groups: Path, most: str, used: int, cached: int) -> None:
    (groups / "memory.max").write_text(f"{most}\n")
    (groups / "memory.current").write_text(f"{used}\n")
    (groups / "memory.stat").write_text(f"anon {used}\ninactive_file {cached}\n")


def test_a_container_has_what_its_limit_leaves(groups: Path):
    limit(groups, str(GIB), used=GIB // 2, cached=GIB // 8)
    assert memory.free_bytes() == int(GIB * 0.95) - GIB // 2 + GIB // 8


def test_the_first_version_of_control_groups_is_read_too(groups: Path):
    (groups / "memory" / "memory.limit_in_bytes").write_text(f"{GIB}\n")
    (groups / "memory" / "memory.usage_in_bytes").write_text(f"{GIB // 2}\n")
    (groups / "memory" / "memory.stat").write_text(f"cache 7\ntotal_inactive_file {GIB // 4}\n")
    assert memory.free_bytes() == int(GIB * 0.95) - GIB // 4


@pytest.mark.parametrize("most", ["max", str(1 << 62)])
def test_without_a_limit_the_machine_has_the_say(groups: Path, most: str):
    limit(groups, most, used=0, cached=0)
    assert memory.free_bytes() <= psutil.virtual_memory().total


def test_a_graph_without_room_is_refused_with_what_it_takes(groups: Path, tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(bytes(1 << 20))
    limit(groups, str(40 << 20), used=26 << 20, cached=0)
    with pytest.raises(BundleError, match=r"takes about 13 MiB .* only 12 MiB of memory are free"):
        memory.require_room(tmp_path)
    limit(groups, str(40 << 20), used=24 << 20, cached=0)
    memory.require_room(tmp_path)


def test_a_bundle_without_a_graph_needs_no_room(groups: Path, tmp_path: Path):
    limit(groups, "1000", used=1000, cached=0)
    memory.require_room(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library keeps freed memory on Linux")
def test_freed_memory_goes_back_to_the_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(16_000) for _ in range(10_000)]
    for block in blocks:
        ctypes.memset(block, 1, 16_000)
    # The last one stays, so that the heap cannot shrink from its end by itself.
    for block in blocks[:-1]:
        libc.free(block)
    before = psutil.Process().memory_info().rss
    memory.give_back()
    assert before - psutil.Process().memory_info().rss > 100_000_000
    libc.free(blocks[-1])


def test_requests_of_many_rows_do_not_have_python_look_for_cycles():
    before, runs = gc.get_threshold(), gc.get_stats()[0]["collections"]
    memory.collect_rarely()
    try:
        rows = [(number,) for number in range(10_000)]
        assert gc.get_stats()[0]["collections"] - runs <= 1
        assert len(rows) == 10_000
        assert gc.get_threshold()[1:] == before[1:], "older garbage is looked for as before"
    finally:
        gc.set_threshold(*before)
